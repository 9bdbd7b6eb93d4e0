"""Validation that does not stop at the first fault.

Whatever is wrong is set aside: it takes its default or, where it is required, the schema's
example, and the rest is validated again. So the checks of one key against another run as well, all
but those that rest upon a faulty key.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from deepclean.config.faults import (
    ConfigFault,
    Key,
    field_at,
    is_branch,
    is_semantic,
    step,
    translate,
)
from deepclean.config.schema import Config


def validate(tree: Mapping[str, Any]) -> tuple[Config | None, list[ConfigFault]]:
    """Return the configuration that a merged tree states, or None and everything wrong with it."""
    repaired = deepcopy(dict(tree))
    faults: list[ConfigFault] = []
    broken: set[Key] = set()
    while True:
        try:
            config = Config.model_validate(repaired)
        except ValidationError as error:
            found = translate(error, Config, repaired)
            faults.extend(fault for fault in found if not fault.rests_on(broken))
            if is_semantic(error):
                return None, faults
            aside = {_set_aside(repaired, key) for fault in found for key in fault.keys}
            if aside <= broken:
                raise  # the schema's own examples or defaults are faulty
            broken |= aside
        else:
            return (None if faults else config), faults


def _set_aside(tree: dict[str, Any], key: Key) -> Key:
    """Remove the value at `key`, or put the example where it is required; return what key it was.

    The key of a whole field where `key` points into its value, `bands` for `bands[0]`.
    """
    node: Any = tree
    kind: Any = Config
    for depth, part in enumerate(key, start=1):
        below = step(kind, part)
        if depth < len(key) and is_branch(below):
            node = node.setdefault(part, {}) if isinstance(node, dict) else node[part]
            kind = below
            continue
        field = field_at(kind, part)
        if field is not None and field.is_required():
            node[part] = deepcopy((field.examples or [None])[0])
        elif field is None and below is not None:
            node[part] = {}  # one of a mapping's or list's sections
        else:
            node.pop(part, None)
        return key[:depth]
    raise AssertionError("a fault without a key")
