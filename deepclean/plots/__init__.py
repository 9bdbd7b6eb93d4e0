"""Pictures of cleaned strain: what was taken out, where, and what the witnesses still see.

    from deepclean.plots import figures
    from deepclean.plots.measure import CleanedStrain, measured

    strain = CleanedStrain(start, rate, raw, {"OUT_DQ": cleaned}, bands={"60Hz": [(55, 65)]})
    found = measured(strain)
    figures.spectra(found).savefig("spectra.png")

`frames` reads cleaned frames into arrays, `measure` makes numbers of arrays, `figures` draws the
numbers into figures of matplotlib, and `page` writes these as a folder with one page.
"""
