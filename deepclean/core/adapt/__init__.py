"""Gains that follow a coupling that drifts: learnt from the seconds before those that are cleaned.

`analytic` makes the groups that the gains multiply, `spectra` what is learnt from, `window` and
`fit` the gains of one moment, `tracker` those of a stream, `apply` the noise that is subtracted.
"""
