"""Networks of other packages, which an entry point of the group `deepclean.architectures` names.

Such an architecture is called `PACKAGE:NAME`, after the distribution and its entry point, so that a
manifest says which package its network is from, and no other package can offer it under that name.

Whoever may write models into a store decides what is subtracted; that must not decide which code
runs. So a package is imported only where the configuration names the architecture
(`models.architectures`) and a manifest or a training asks for it. Both are needed. What no
configuration of this process names is refused without a look at the package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution

from torch import nn

from deepclean.errors import ModelError, hint, one_line

GROUP = "deepclean.architectures"

_admitted: set[str] = set()
"""What the configurations of this process name. Nothing is taken out again: code stays imported."""


def admit(names: Iterable[str]) -> None:
    """Allow architectures of other packages in this process; nothing is imported yet.

    Args:
        names: `models.architectures` of the configuration.
    """
    _admitted.update(map(_canonical, names))


def is_packaged(name: str) -> bool:
    """Return whether an architecture's name says that it is of another package."""
    return ":" in name


def find(name: str) -> Callable[..., nn.Module]:
    """Return the class of an architecture of another package.

    Args:
        name: `PACKAGE:NAME`.

    Raises:
        ModelError: the configuration does not name it, the package is not installed or has no such
            entry point, or its import fails.
    """
    if _canonical(name) not in _admitted:
        raise ModelError(
            f"architecture {name} is of another package, which runs only where the configuration "
            f"names it: add {name} to models.architectures if you trust the package"
        )
    package, _, entry = name.partition(":")
    try:
        held = distribution(package)
    except PackageNotFoundError as error:
        raise ModelError(
            f"architecture {name}: the package {package} is not installed in this environment"
        ) from error
    offered = _entry_points(held)
    if entry not in offered:
        raise ModelError(
            f"architecture {name}: {package} {held.version} offers no {entry}{hint(entry, offered)}"
        )
    try:
        made = offered[entry].load()
    except Exception as error:  # whatever another package's code raises
        raise ModelError(
            f"architecture {name}: {package} {held.version} cannot be imported: {one_line(error)}"
        ) from error
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise ModelError(f"architecture {name}: {offered[entry].value} is no torch.nn.Module")
    return made


def _entry_points(held: Distribution) -> dict[str, EntryPoint]:
    return {point.name: point for point in held.entry_points if point.group == GROUP}


def _canonical(name: str) -> str:
    """Return a name with its package as packages are compared: case and `-_.` do not matter."""
    package, _, entry = name.partition(":")
    return f"{re.sub(r'[-_.]+', '-', package).lower()}:{entry}"
