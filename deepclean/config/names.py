"""Short names in files: channels get the interferometer's prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EXTENDS = "extends"
"""The key of a file that names the file it starts from."""

STRAIN = "GDS-CALIB_STRAIN"
STATE_VECTOR = "GDS-CALIB_STATE_VECTOR"

_NOWHERE = "H1"
"""Used where the interferometer is missing or wrong, which is a fault of its own."""


def spell_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return `raw` with full channel names and the names that follow from the interferometer.

    A value of the wrong type is left as it is: validation reports it.
    """
    site = raw.get("interferometer")
    if not (isinstance(site, str) and re.fullmatch("[A-Z][0-9]", site)):
        site = _NOWHERE
    full = dict(raw)
    strain = full.setdefault("strain", {})
    if isinstance(strain, Mapping):
        named = {"channel": STRAIN, "state_vector": STATE_VECTOR, **strain}
        for key in ("channel", "state_vector"):
            named[key] = _full(named[key], site)
        full["strain"] = named
    output = full.setdefault("output", {})
    if isinstance(output, Mapping):
        full["output"] = {"description": f"{site}_DEEPCLEAN", **_full_published(output, site)}
    couplings = full.get("couplings")
    if isinstance(couplings, Mapping):
        full["couplings"] = {
            name: _full_witnesses(coupling, site) for name, coupling in couplings.items()
        }
    tune = full.get("tune")
    if isinstance(tune, Mapping):
        full["tune"] = _full_tune(tune, site)
    engine = full.get("engine")
    if isinstance(engine, Mapping):
        full["engine"] = _full_limits(engine, site)
    return full


def _full_published(output: Mapping[str, Any], site: str) -> Mapping[str, Any]:
    arrakis = output.get("arrakis")
    if not isinstance(arrakis, Mapping) or not isinstance(arrakis.get("channels"), list | tuple):
        return output
    channels = [_full(name, site) for name in arrakis["channels"]]
    return {**output, "arrakis": {**arrakis, "channels": channels}}


def _full_limits(engine: Mapping[str, Any], site: str) -> dict[str, Any]:
    witnesses = engine.get("witnesses")
    if not isinstance(witnesses, Mapping) or not isinstance(witnesses.get("limits"), Mapping):
        return dict(engine)
    limits = {_full(name, site): limit for name, limit in witnesses["limits"].items()}
    return {**engine, "witnesses": {**witnesses, "limits": limits}}


def _full_witnesses(coupling: Any, site: str) -> Any:
    witnesses = coupling.get("witnesses") if isinstance(coupling, Mapping) else None
    if not isinstance(witnesses, list | tuple):
        return coupling
    return {**coupling, "witnesses": [_full(name, site) for name in witnesses]}


def _full_tune(tune: Mapping[str, Any], site: str) -> dict[str, Any]:
    full = dict(_full_witnesses(tune, site))
    groups = tune.get("groups")
    if isinstance(groups, Mapping):
        full["groups"] = {
            name: [_full(channel, site) for channel in channels]
            if isinstance(channels, list | tuple)
            else channels
            for name, channels in groups.items()
        }
    return full


def _full(name: Any, site: str) -> Any:
    return f"{site}:{name}" if isinstance(name, str) and ":" not in name else name
