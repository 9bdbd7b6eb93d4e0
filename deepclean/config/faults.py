"""Faults of a configuration: pydantic's errors as messages that say what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from deepclean.config.names import EXTENDS
from deepclean.config.types import Section, show
from deepclean.errors import nearest

Key = tuple[str | int, ...]
"""The place of a value in the tree: names, and positions in lists."""


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """A fault of a configuration.

    Args:
        message: the fault, and its remedy.
        keys: the key that it is reported under, then the other keys that it follows from.
    """

    message: str
    keys: tuple[Key, ...]

    def rests_on(self, broken: Collection[Key]) -> bool:
        """Return whether it follows from a key that is faulty itself, or lies inside one."""
        return any(key[:length] in broken for key in self.keys for length in range(len(key) + 1))

    def __str__(self) -> str:
        return f"{show_key(self.keys[0])}: {self.message}" if self.keys[0] else self.message


def show_key(key: Key) -> str:
    """Return a key as people write it: `input.witnesses[0].directory`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def field_at(kind: Any, part: str | int) -> FieldInfo | None:
    """Return the field `part` of a section of type `kind`; None where there is none."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind.model_fields.get(str(part))
    return None


def step(kind: Any, part: str | int) -> Any:
    """Return the type of the value `part` in a value of type `kind`; None: unknown."""
    field = field_at(kind, part)
    if field is not None:
        return field.annotation
    if get_origin(kind) in (Mapping, tuple):
        return next((inner for inner in get_args(kind) if inner not in (str, ...)), None)
    return None


def is_branch(kind: Any) -> bool:
    """Return whether values of this type are sections or hold sections."""
    if isinstance(kind, type):
        return issubclass(kind, Section)
    return get_origin(kind) in (Mapping, tuple) and is_branch(step(kind, ""))


def valid_names(kind: Any) -> tuple[str, ...]:
    """Return the keys that a section has, in a file's spelling."""
    names = tuple(kind.model_fields) if isinstance(kind, type) and issubclass(kind, Section) else ()
    return (*names, "band") if "bands" in names else names


def is_semantic(error: ValidationError) -> bool:
    """Return whether the values are valid each, but do not go together."""
    return any(detail["type"] == "semantic" for detail in error.errors(include_url=False))


def translate(
    error: ValidationError, root: type[Section], tree: Mapping[str, Any]
) -> list[ConfigFault]:
    """Return the faults that pydantic found in `tree`; a misspelt key is not also missing."""
    details = error.errors(include_url=False)
    faults = [_unknown(root, tree, each["loc"]) for each in details if _is_unknown(each)]
    misspelt = {key for fault in faults for key in fault.keys}
    for detail in details:
        inside = any(detail["loc"] == other["loc"][:-1] for other in details)
        if _is_unknown(detail) or (detail["type"] == "too_short" and inside):
            continue  # reported above; or its items are wrong rather than missing
        faults.extend(fault for fault in _known(detail) if not fault.rests_on(misspelt))
    return faults


def _is_unknown(detail: ErrorDetails) -> bool:
    return detail["type"] == "extra_forbidden"


def _unknown(root: type[Section], tree: Mapping[str, Any], key: Key) -> ConfigFault:
    kind: Any = root
    section: Any = tree
    *parents, name = key
    for part in parents:
        kind, section = step(kind, part), section[part]
    names = valid_names(kind)
    guess = nearest(str(name), {*names, *(() if parents else (EXTENDS,))} - {name})
    if guess is None:
        return ConfigFault(f"unknown key; the valid ones are {', '.join(names)}", (key,))
    meant = "bands" if guess == "band" else guess
    keys = (key,) if meant in section else (key, (*parents, meant))
    return ConfigFault(f"unknown key; did you mean {guess}?", keys)


_WANTED: Mapping[str, str] = {
    "model_type": "a mapping of keys",
    "mapping_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "path_type": "a path",
    "finite_number": "a finite number",
}


def _known(detail: ErrorDetails) -> Iterator[ConfigFault]:
    kind, context, value = detail["type"], detail.get("ctx", {}), show(detail["input"])
    if kind == "semantic":
        yield from context["faults"]
        return
    if kind in _WANTED:
        message = f"must be {_WANTED[kind]}, not {value}"
    elif kind == "missing":
        message = "missing; add it"
    elif kind == "too_short":
        message = "must not be empty"
    elif kind == "literal_error":
        choices = context["expected"].replace("'", "")
        message = f"must be {choices}, not {value}"
    elif kind == "value_error":
        message = str(context["error"])
    else:
        wanted = detail["msg"].removeprefix("Input should be ")
        message = f"must be {wanted}, not {value}"
    yield ConfigFault(message, (detail["loc"],))


def fault_of(keys: str, message: str) -> ConfigFault:
    """Return a fault that follows from some keys, the one that it is reported under first."""
    return ConfigFault(message, tuple(tuple(key.split(".")) for key in keys.split()))
