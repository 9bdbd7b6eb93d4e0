"""The statistics of a coupling's refits, kept beside the versions so that no data is read twice.

The file holds a line of JSON, with a hash of the structure that the statistics belong to and one of
what follows, and then the tensors of all cells. Statistics of another structure, a damaged file and
one that others can write are of no use: the data are read again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from deepclean.errors import ModelError, UnavailableError
from deepclean.models import tensors
from deepclean.models.manifest import sha256
from deepclean.models.store import permissions
from deepclean.system.atomic import publish
from deepclean.train.closed_form.refit import Cell
from deepclean.train.closed_form.statistics import Statistics

CELLS = "refit.cells"
"""The file's name. A cell takes `8 (p^2 + p + 4)` bytes, with `p` parameters: 32 kB for 63."""

_log = logging.getLogger(__name__)


def read_cells(directory: Path, structure: str, store: Path) -> dict[int, Cell]:
    """Return the cells in a coupling's directory by their start in GPS nanoseconds.

    Args:
        directory: the coupling's.
        structure: hash of the structure that they must belong to.
        store: the store in which the file must lie, writable for its owner only.

    Returns:
        None of them where there is no such file, or it is of no use, which is logged.
    """
    path = directory / CELLS
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        head, _, body = permissions.read(path, store).partition(b"\n")
        if json.loads(head) != _head(structure, body):
            raise ValueError("of another structure, or damaged")
        return _parse(body, path)
    except (ModelError, UnavailableError, ValueError, KeyError) as error:
        _log.info("%s: not used, the data are read again: %s", path, error)
        return {}


def write_cells(directory: Path, structure: str, cells: Mapping[int, Cell]) -> None:
    """Replace the cells in a coupling's directory.

    Args:
        directory: the coupling's.
        structure: hash of their structure.
        cells: by start in GPS nanoseconds, at least one.

    Raises:
        OutputError: the file system refused.
    """
    starts = sorted(cells)
    held = [cells[start] for start in starts]
    names = ("gram", "cross", "power", "weight")
    arrays = {name: np.array([getattr(cell.statistics, name) for cell in held]) for name in names}
    arrays["starts"] = np.array(starts, dtype=np.int64)
    arrays["seconds"] = np.array([cell.seconds for cell in held], dtype=np.int64)
    body = tensors.serialise({name: torch.from_numpy(array) for name, array in arrays.items()})
    head = json.dumps(_head(structure, body)).encode()
    publish(directory / CELLS, head + b"\n" + body, fsync=True, mode=0o644)


def _head(structure: str, body: bytes) -> dict[str, str]:
    return {"structure": structure, "sha256": sha256(body)}


def _parse(body: bytes, path: Path) -> dict[int, Cell]:
    held = {name: tensor.numpy() for name, tensor in tensors.parse(body, path).items()}
    return {
        int(start): Cell(
            int(held["seconds"][row]),
            Statistics(
                held["gram"][row],
                held["cross"][row],
                held["power"][row],
                float(held["weight"][row]),
            ),
        )
        for row, start in enumerate(held["starts"])
    }
