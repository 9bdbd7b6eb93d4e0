"""A refit: the coefficients of a known structure, from statistics that add up over time.

Time is cut into cells on a fixed grid. A cell is whitened by what a fit to its own data leaves, and
the same fit gives its segments their robust weights. Whitened, the statistics of all bins add up
to one matrix, and so do those of all cells:

    G = sum_c sum_f V / S_c (f)  G_c(f),

and likewise for the right-hand side and the strain's power. A cell that is noisier than others
counts less by its own `S_c`. What a cell adds is a function of the structure and of the cell's data
alone. So it does not matter in how many runs the cells were taken in, and a cell is forgotten by
leaving it out of the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepclean.core.block import Float64
from deepclean.models.reduced.equations import Equations
from deepclean.train.closed_form.bank import Bank
from deepclean.train.closed_form.data import LEAST, Data, portions, read_streams, segments_in
from deepclean.train.closed_form.fitting import Fitter
from deepclean.train.closed_form.outcome import tensors_of
from deepclean.train.closed_form.solve import load_of, normal_equations, solve
from deepclean.train.closed_form.statistics import Statistics
from deepclean.train.closed_form.structure import Structure


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """What a cell of time says of a structure's parameters.

    Args:
        seconds: segments in it, one a second; 0 where there was too little data.
        statistics: whitened and summed over the bins, which stand here as one.
    """

    seconds: int
    statistics: Statistics


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """The coefficients of a structure, solved anew.

    Args:
        tensors: the model's state, by name.
        equations: what they were solved from.
        seconds: of data that count.
    """

    tensors: dict[str, Float64]
    equations: Equations
    seconds: int


def nothing(structure: Structure) -> Cell:
    """Return the cell without data."""
    count = structure.parameters.parameters
    zeros = np.zeros
    return Cell(0, Statistics(zeros((1, count, count)), zeros((1, count)), zeros(1), 0.0))


def measure_cell(structure: Structure, data: Data) -> Cell:
    """Return what a cell says.

    Args:
        structure: of the model.
        data: the needed witnesses, in the order of `structure.channels`, and the strain.
    """
    layout, empty = structure.layout, nothing(structure)
    parts = portions(data.spans)
    if sum(map(segments_in, parts)) < LEAST:
        return empty
    bank = Bank(layout, [read_streams(data, part, layout, structure.own_scales) for part in parts])
    for number, base in structure.own_bases.items():
        bank.set_base(number, base)
    fitter = Fitter(bank)
    if not np.median(np.abs(fitter.strain), axis=1).min() > 0:
        return empty  # the strain stands still
    groups = structure.own_groups
    # The second fit weighs the segments by what the first leaves of them.
    fit = fitter.fit(groups, fitter.fit(groups, fitter.nothing()))
    white, held = fitter.value / fit.solution.residual, fit.statistics
    summed = Statistics(
        np.tensordot(white, held.gram, 1)[None],
        (white @ held.cross)[None],
        np.array([white @ held.power]),
        held.weight,
    )
    whole = all(np.isfinite(each).all() for each in (summed.gram, summed.cross, summed.power))
    return Cell(bank.segments, summed) if whole else empty


def solve_cells(
    structure: Structure, cells: Sequence[Cell], ridge: float | None = None
) -> Refit | None:
    """Return the coefficients that some cells give; None where these hold no data.

    Args:
        structure: of the model.
        cells: in order of time.
        ridge: one number for all groups instead of the evidence's.
    """
    total, seconds = nothing(structure).statistics, 0
    for cell in cells:
        total, seconds = total + cell.statistics, seconds + cell.seconds
    if not seconds:
        return None
    group_of, places = structure.parameters.group_of, structure.places
    # The bins stand as one, which is as much worth as all of them. What the cells' fits left has
    # been made white, so its power in that bin is its worth.
    value = np.array([structure.layout.value.sum()])
    solution = solve(total, value, group_of, start=value, ridge=ridge)
    white = value / solution.residual
    matrix, right, scale = normal_equations(total, white)
    equations = Equations(
        matrix=matrix,
        right=right,
        scale=scale,
        load=load_of(solution.ridges[group_of]),
        places=places,
        needs=structure.needs,
        power=float(total.power @ white),
        floor=total.weight * float(value.sum()),
    )
    bases = list(structure.bases.values())
    tensors = tensors_of(structure.layout, places, solution.coefficients, bases)
    # The equations' own solution: it has the same bits on every machine.
    return Refit({**tensors, "weights": equations.solve()[0]}, equations, seconds)
