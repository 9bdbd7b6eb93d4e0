"""The frozen base of the configuration's sections, and the checked types of their values.

Each type refuses a value that a person may mistake for it (`true` for a number, one band for a list
of bands) with a message that names the valid form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    WithJsonSchema,
)

from deepclean.core.time import NS, seconds_to_ns

T_co = TypeVar("T_co", covariant=True)

_LONGEST = 1e9
"""Seconds. Longer durations are mistakes."""


class Section(BaseModel):
    """A group of keys: frozen, without unknown keys, each described by the string below it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class FrozenMap(Mapping[str, T_co]):
    """A mapping that cannot change and can be compared, hashed, copied and pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, T_co]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> T_co:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def freeze(value: Any) -> Any:
    """Return `value` with every mapping in it frozen and every list turned into a tuple.

    Raises:
        ValueError: it holds what JSON cannot.
    """
    if isinstance(value, Mapping):
        return FrozenMap({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    raise ValueError(f"must hold text, numbers, true, false and null only, not {show(value)}")


def thaw(value: Any) -> Any:
    """Return `value` with plain dicts and lists again."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thaw(item) for item in value]
    return value


def show(value: object) -> str:
    """Return a value as messages quote it: as YAML would; a mapping or a list by its kind."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Path):
        return str(value)
    return json.dumps(value, default=str, ensure_ascii=False)


def _number(value: object) -> float | None:
    """Return the number that `value` states, or None where it is none or too large."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= _LONGEST else None


def seconds(default: float | Literal["auto"]) -> Any:
    """Declare a duration with its default, as a file states it."""
    return Field(default=default, validate_default=True)


def _duration(value: Any, *, zero: bool = False) -> int:
    """Return the nanoseconds of a number or decimal string of seconds, exactly."""
    number = _number(value)
    if number is None:
        raise ValueError(f"must be a number of seconds, not {show(value)}")
    try:
        duration = seconds_to_ns(value)
        exact = seconds_to_ns(number) == duration
    except ValueError:
        exact = False
    if not exact:
        raise ValueError(f"{value} s is finer than a nanosecond; give at most nine decimals")
    if duration < 0 or (duration == 0 and not zero):
        wanted = "greater than or equal to 0" if zero else "greater than 0"
        raise ValueError(f"must be {wanted}, not {show(number)}")
    return duration


def _pause(value: Any) -> int:
    return _duration(value, zero=True)


def _auto_duration(value: Any) -> int | None:
    if value == "auto":
        return None
    number = _number(value)
    if number is None or number <= 0:
        raise ValueError(f"must be auto or a positive number of seconds, not {show(value)}")
    return _duration(value)


def _in_seconds(duration: int | None) -> float | Literal["auto"]:
    return "auto" if duration is None else duration / NS


def _band(value: Any) -> tuple[float, float]:
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != 2 or any(isinstance(n, bool | str) or _number(n) is None for n in numbers):
        raise ValueError("must be [low, high], two numbers in Hz")
    return float(numbers[0]), float(numbers[1])


def _bands(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else ()
    if numbers and all(isinstance(item, int | float) for item in numbers):
        raise ValueError(
            "must be a list of [low, high]; write `band: [low, high]` for a single one"
        )
    return value


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError(
            f"{show(value)} is not an IP address; write it like 127.0.0.1 or ::1"
        ) from None


def _matching(pattern: str, remedy: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(f"{show(value)} {remedy}")
        return value

    return AfterValidator(check)


Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Gt(0), Lt(2**31)]
"""A whole number, at least 1."""

Seed = Annotated[int, Strict(), Ge(0), Lt(2**32)]
"""A seed that every library takes."""

Device = Annotated[
    str,
    _matching(r"cpu|auto|cuda(:[0-9])?", "is not cpu, auto, cuda or one GPU; write it like cuda:1"),
]
"""The device on which networks run; auto: a GPU where there is one."""

Port = Annotated[int, Strict(), Gt(0), Lt(2**16)]
"""A TCP port."""

Address = Annotated[str, AfterValidator(_address)]
"""An IP address, version 4 or 6, never a name: a name would need a look-up."""

Positive = Annotated[float, Strict(), Gt(0)]
NotNegative = Annotated[float, Strict(), Ge(0)]
Fraction = Annotated[float, Strict(), Gt(0), Lt(1)]

_AS_SECONDS = PlainSerializer(_in_seconds)
_SECONDS_SCHEMA = WithJsonSchema({"type": ["number", "string"]})

Duration = Annotated[int, PlainValidator(_duration), _AS_SECONDS, _SECONDS_SCHEMA]
"""Nanoseconds, more than 0. A file states seconds: a number or a decimal string, exact to 1 ns."""

Pause = Annotated[int, PlainValidator(_pause), _AS_SECONDS, _SECONDS_SCHEMA]
"""A duration that may be 0."""

AutoDuration = Annotated[
    int | None,
    PlainValidator(_auto_duration),
    _AS_SECONDS,
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": ["number", "string"]}]}),
]
"""A duration, or None where a file states `auto`."""

Band = Annotated[
    tuple[float, float],
    BeforeValidator(_band),
    WithJsonSchema(
        {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    ),
]
"""`(low, high)` in Hz."""

Bands = Annotated[tuple[Band, ...], MinLen(1), BeforeValidator(_bands)]
"""One or several bands."""

Interferometer = Annotated[
    str, _matching(r"[A-Z][0-9]", "is not a capital letter and a digit; write it like H1")
]

Channel = Annotated[
    str,
    _matching(
        r"([A-Z][0-9]:)?[A-Za-z0-9_.-]+",
        "is not a channel name; use letters, digits, _, - and . (the prefix may be left out)",
    ),
]

Server = Annotated[
    str,
    _matching(
        r"grpc[a-z+]*://\S+|[^\s/]+",
        "is not the address of an Arrakis server; write it like grpc://HOST:31206",
    ),
]
"""The address of an Arrakis server, as its client takes it."""

PackagedArchitecture = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?:[\w.-]+",
        "is not an architecture of a package; write it like deepclean-mine:gru",
    ),
]
"""`PACKAGE:NAME`: a distribution, and its entry point of the group `deepclean.architectures`."""

Description = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9_+#]+",
        "is not a LIGO-T050017 description; use letters, digits, _, + and #, no dash or dot",
    ),
]

Options = Annotated[
    Mapping[str, Any], AfterValidator(freeze), PlainSerializer(thaw, return_type=dict)
]
"""Free keys: options of the network or loss that is named beside them."""
