"""Configuration: all faults at once, whatever they are."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from deepclean.config import Config, load, to_yaml
from deepclean.errors import ConfigError

GOOD = """
interferometer: H1
input: {strain: {directory: /strain}, witnesses: [{directory: /witnesses}]}
output: {directory: /cleaned}
models: {directory: /models}
couplings:
  60Hz: {bands: [[55, 65]], witnesses: [PEM-MAINS, ASC-PITCH]}
  30-32Hz: {bands: [[30, 32]], witnesses: [PEM-MAINS]}
"""
UNKNOWN = "unknown key; did you mean"
VALID = f"unknown key; the valid ones are {', '.join(Config.model_fields)}"
HOP = "is not 1/16, 1/8, 1/4, 1/2 or a whole number of seconds up to 64; use one of these"
SWAP = "32-30 Hz: the low edge is not below the high edge; swap them"


def faults_of(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, {})
    return caught.value.faults


# Options that are wrong each for itself, and what follows the key in the message.
APART: dict[str, str] = {
    "strain.raet=1": f": {UNKNOWN} rate?",
    "input.deadline=x": ': must be a number of seconds, not "x"',
    "input.checksum=1": ": must be true or false, not 1",
    "output.description=1": ": must be text, not 1",
    "output.directory=/strain": (
        ": /strain is input.strain.directory too; write to a directory of its own"
    ),
    "output.products=[]": ": must not be empty",
    "output.retention=3": ": must be a mapping of keys, not 3",
    "engine.hop=0.3": f": 0.3 s {HOP}",
    "engine.ramp=-1": ": must be greater than 0, not -1.0",
    "engine.resample.max_delay=0.01": (
        ": 0.01 s is less than one sample at 16 Hz (slowest_rate); use at least 0.0625"
    ),
    "models.directory=3": ": must be a path, not 3",
    "couplings.60Hz.enabeld=true": f": {UNKNOWN} enabled?",
    "couplings.60Hz.predict.edge=0.5": (
        ": 0.5 s is not less than half of the kernel, 1 s; shorten the edge or lengthen the kernel"
    ),
    "couplings.60Hz.bandpass.transition=55": (
        ": 55 Hz leaves no stop band below the band edge at 55 Hz; use less than 55"
    ),
    "couplings.60Hz.witnesses=[A, A]": ": H1:A is listed 2 times; keep one",
    "couplings.30-32Hz.model=3": ": must be a path, not 3",
    "couplings.30-32Hz.bands=[[32, 30]]": f"[0]: {SWAP}",
    "couplings.30-32Hz.witnesses=A": ': must be a list, not "A"',
    "training.overlap=9": ": 9 s is not less than the window, 4 s; shorten it",
    "runtime.threads=0": ": must be greater than 0, not 0",
    "log.level=loud": ': must be DEBUG, INFO, WARNING or ERROR, not "loud"',
    "metrics.address=localhost": (
        ': "localhost" is not an IP address; write it like 127.0.0.1 or ::1'
    ),
    "metrics.port=65536": ": must be less than 65536, not 65536",
    "purpose=1": f": {VALID}",
}


@given(options=st.lists(st.sampled_from(sorted(APART)), min_size=1, unique=True))
def test_a_line_per_fault(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "H1.yaml"
    path.write_text(GOOD)
    keys = {option: option.partition("=")[0] for option in options}
    expected = [f"--set {option}: {key}{APART[option]}" for option, key in keys.items()]
    assert sorted(faults_of(path, *options)) == sorted(expected)


def named(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the key of each value of a tree, but for the names of couplings."""
    for name, value in tree.items():
        if above != ("couplings",):
            yield (*above, name)
        if isinstance(value, Mapping):
            yield from named(value, (*above, name))


def resolved() -> dict[str, Any]:
    """Return a tree in which every key of the schema is set."""
    path = Path(__file__).parents[2] / "config" / "K1.yaml"
    tree: dict[str, Any] = YAML(typ="safe", pure=True).load(to_yaml(load(path, (), {})))
    return tree


RESOLVED = resolved()
LETTERS = "abcdefghijklmnopqrstuvwxyz_"


@st.composite
def slips(draw: st.DrawFn) -> tuple[tuple[str, ...], str]:
    """Draw a key and a misspelling: a letter dropped, doubled or added, or two in wrong order."""
    key = draw(st.sampled_from(sorted(named(RESOLVED))))
    name = key[-1]
    place = draw(st.integers(0, len(name) - 1))
    here, after = name[place], name[place + 1 :]
    changed = draw(
        st.sampled_from([after, here + here + after, after[:1] + here + after[1:]])
        | st.sampled_from(LETTERS).map(lambda letter: letter + here + after)
    )
    return key, name[:place] + changed


@given(slip=slips())
def test_misspelt_key_is_recognised(
    slip: tuple[tuple[str, ...], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    key, misspelt = slip
    tree = deepcopy(RESOLVED)
    section = tree
    for part in key[:-1]:
        section = section[part]
    assume(misspelt not in {*section, "band"})
    section[misspelt] = section.pop(key[-1])
    path = tmp_path_factory.getbasetemp() / "K1.yaml"
    path.write_text(json.dumps(tree))
    (line,) = faults_of(path)
    meant = {"band", "bands"} if key[-1] == "bands" else {key[-1]}
    where = ".".join((*key[:-1], misspelt))
    assert line in {f"{path}: {where}: {UNKNOWN} {name}?" for name in meant}


def test_key_beside_its_misspelling_is_judged_too(tmp_path: Path) -> None:
    path = tmp_path / "H1.yaml"
    path.write_text(GOOD + "engine: {hopp: 1, hop: 0.3}\n")
    assert faults_of(path) == (
        f"{path}: engine.hopp: {UNKNOWN} hop?",
        f"{path}: engine.hop: 0.3 s {HOP}",
    )


JUNK = st.recursive(
    st.sampled_from([None, True, -1, 0, 0.5, 10**30, "", "x", "auto", "\0", "é", "1e999", "L1:A"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "rate", "band", "directory"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    changes=st.dictionaries(
        st.sampled_from([*sorted(named(RESOLVED)), ("couplings", "60Hz_mains_only")]),
        JUNK,
        min_size=1,
        max_size=5,
    )
)
def test_whatever_a_file_holds_is_answered(
    changes: dict[tuple[str, ...], Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = deepcopy(RESOLVED)
    for key, value in sorted(changes.items(), key=lambda change: -len(change[0])):
        section = tree
        for part in key[:-1]:
            section = section[part]
        section[key[-1]] = value
    path = tmp_path_factory.getbasetemp() / "K1.yaml"
    path.write_text(json.dumps(tree))
    faults: tuple[str, ...] = ()
    try:
        load(path, (), {})
    except ConfigError as error:
        faults = error.faults
    assert len(set(faults)) == len(faults)
    assert all(line.startswith(f"{path}: ") for line in faults)
