"""The search for the best configuration of a coupling, by many trainings.

`space` says what is searched, `study` holds the trials in a directory that several processes share,
`judge` measures a model on held-out data, `worker` runs trials, `effects` and `report` tell what
mattered.
"""
