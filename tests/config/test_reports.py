"""Configuration: unreadable files and overrides that fail; each fault names its source."""

from pathlib import Path

import pytest

from deepclean.config import Config, load
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
SWAP = "32-30 Hz: the low edge is not below the high edge; swap them"
TWICE = "that noise would be subtracted twice; disable one of them or merge them"
NOTHING = (
    "names no key and value; write it like --set engine.hop=0.0625 or DEEPCLEAN__ENGINE__HOP=0.0625"
)


def lines(path: Path, *overrides: str, **environ: str) -> list[str]:
    """Return the lines of the error that loading gives, with FOLDER for the file's directory."""
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, environ)
    assert str(caught.value).splitlines() == list(caught.value.faults)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.faults]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "H1.yaml"
    path.write_text(GOOD)
    return path


# Files


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1\nb: 2\n", "line 2, column 2: not YAML: expected ',' or ']', but got ':'"),
        ("a: *b\n", "line 1, column 4: not YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: not YAML: but found another document"),
        ("a: \a", "not YAML: unacceptable character #x0007: special characters are not allowed"),
        ("a: &a {b: *a}\n", "refers to itself, or is nested too deeply"),
        (f"a: {'[' * 500}", "refers to itself, or is nested too deeply"),
        ("", "is empty; it must be a mapping of keys"),
        ("# nothing\n", "is empty; it must be a mapping of keys"),
        ("- a\n", "must be a mapping of keys, not a list"),
        ("plain\n", 'must be a mapping of keys, not "plain"'),
        ("extends: [base.yaml]\n", "extends: must be a path, not a list"),
        ("extends: base.yaml\n", "extends: no such file: base.yaml"),
        (
            "extends: shipped:H2.yaml\n",
            "extends: H2.yaml does not come with the software; did you mean H1.yaml?",
        ),
        (
            "extends: shipped:../config/H1.yaml\n",
            "extends: ../config/H1.yaml does not come with the software; there are H1.yaml, "
            "H1-sixteenths.yaml, K1.yaml, L1.yaml, V1.yaml, base.yaml, demo.yaml",
        ),
        ("extends: ./H1.yaml\n", "extends: goes in a circle: H1.yaml -> H1.yaml"),
        ("extends: a/../H1.yaml\n", "extends: goes in a circle: H1.yaml -> a/../H1.yaml"),
    ],
)
def test_unreadable(text: str, line: str, file: Path) -> None:
    file.write_text(text)
    (file.parent / "a").mkdir()
    assert lines(file)[0] == f"H1.yaml: {line}"


@pytest.mark.parametrize("value", ["!!python/name:os.system", "!!python/object/apply:os.getcwd []"])
def test_nothing_is_executed(value: str, file: Path) -> None:
    file.write_text(f"a: {value}\n")
    (line,) = lines(file)
    assert line.startswith("H1.yaml: line 1, column 4: not YAML: could not determine a constructor")


def test_number_of_too_many_digits(file: Path) -> None:
    file.write_text(f"a: {'1' * 5000}\n")
    (line,) = lines(file)
    assert line.startswith("H1.yaml: not YAML: Exceeds the limit")


def test_files_that_are_none(file: Path) -> None:
    assert lines(file.with_name("L1.yaml")) == [
        "L1.yaml: cannot be read: no such file or directory"
    ]
    (file.parent / "folder").mkdir()
    assert lines(file.parent / "folder") == ["folder: cannot be read: is a directory"]
    file.write_bytes(b"about: \xff\n")
    assert lines(file) == ["H1.yaml: is not UTF-8 text"]


def test_circle_of_files(file: Path) -> None:
    file.write_text("extends: a.yaml\n")
    file.with_name("a.yaml").write_text("extends: b.yaml\n")
    file.with_name("b.yaml").write_text("extends: H1.yaml\n")
    chain = "H1.yaml -> a.yaml -> b.yaml -> H1.yaml"
    assert lines(file) == [f"b.yaml: extends: goes in a circle: {chain}"]


def test_faults_of_form_are_reported_with_all_others(file: Path) -> None:
    file.write_text(GOOD + "output: {}\noutput: {}\nlog: {1: 2, level: x}\nengine: {hop: .nan}\n")
    assert lines(file) == [
        "H1.yaml: line 9: duplicate key output; keep one of them",
        "H1.yaml: line 10: duplicate key output; keep one of them",
        "H1.yaml: log.1: a key must be text; quote it",
        "H1.yaml: engine.hop: must be a number of seconds, not NaN",
        'H1.yaml: log.level: must be DEBUG, INFO, WARNING or ERROR, not "x"',
    ]
    file.write_text("extends: base.yaml\na: 1\na: 2\n")
    assert lines(file) == [
        "H1.yaml: line 3: duplicate key a; keep one of them",
        "H1.yaml: extends: no such file: base.yaml",
    ]


def test_base_is_named_for_its_faults(file: Path) -> None:
    file.with_name("base.yaml").write_text("engine: {hoop: 1, ramp: x}\nlog: {level: x}\n")
    file.write_text("extends: base.yaml\nengine: {ramp: y}\n" + GOOD.replace("H1", "h1"))
    assert lines(file) == [
        f"base.yaml: engine.hoop: {UNKNOWN} hop?",
        'H1.yaml: interferometer: "h1" is not a capital letter and a digit; write it like H1',
        'H1.yaml: engine.ramp: must be a number of seconds, not "y"',
        'base.yaml: log.level: must be DEBUG, INFO, WARNING or ERROR, not "x"',
    ]


# Overrides


@pytest.mark.parametrize(
    ("option", "rest"),
    [
        ("engine.hoop=1", f"engine.hoop: {UNKNOWN} hop?"),
        ("engine.hop=fast", 'engine.hop: must be a number of seconds, not "fast"'),
        ("engine.hop=", "engine.hop: must be a number of seconds, not null"),
        ("engine.hop.x=1", "engine.hop: must be a number of seconds, not a mapping"),
        ("engine=1", "engine: must be a mapping of keys, not 1"),
        (
            "engine.rate=[1",
            "line 1, column 3: not YAML: expected ',' or ']', but got '<stream end>'",
        ),
        ("log={level: INFO, level: INFO}", "line 1: duplicate key level; keep one of them"),
        ("extends=base.yaml", f"extends: {VALID}"),
        ("couplings.60hz.enabled=false", "couplings.60hz: no such coupling; did you mean 60Hz?"),
        ("couplings.x.enabled=false", "couplings.x: no such coupling; set it up in a file first"),
        ("couplings={x: {band: [9, 11]}}", "couplings.x.witnesses: missing; add it"),
        (
            "couplings.60Hz.bands=[[9, 31]]",
            f"couplings.60Hz.bands: 9-31 Hz overlaps 30-32 Hz of 30-32Hz: {TWICE}",
        ),
        (
            "input.strain.directory=~/x",
            'input.strain.directory: "~/x" names no directory; write it in full',
        ),
        (
            "strain.rate=1001",
            "engine.ramp: 0.25 s is not a whole number of samples at 1001 Hz (strain.rate); use 1",
        ),
    ],
)
def test_option_is_named_for_its_fault(option: str, rest: str, file: Path) -> None:
    assert lines(file, option) == [f"--set {option}: {rest}"]


@pytest.mark.parametrize("option", ["", "engine.hop", "=1", "engine..hop=1", ".=1"])
def test_option_that_names_nothing(option: str, file: Path) -> None:
    assert lines(file, option) == [f"--set {option}: {NOTHING}"]


@pytest.mark.parametrize(
    ("name", "value", "rest"),
    [
        ("DEEPCLEAN__ENGINE__HOOP", "1", f"engine.hoop: {UNKNOWN} hop?"),
        ("deepclean__engine__hop", "x", 'engine.hop: must be a number of seconds, not "x"'),
        (
            "DEEPCLEAN__COUPLINGS__30_32__MODEL",
            "x",
            "couplings.30_32: no such coupling; did you mean 30-32Hz?",
        ),
        ("DEEPCLEAN__COUPLINGS__30_32HZ__MODLE", "x", f"couplings.30-32Hz.modle: {UNKNOWN} model?"),
        (
            "DEEPCLEAN__COUPLINGS__30_32HZ__BANDS",
            "[[32, 30]]",
            f"couplings.30-32Hz.bands[0]: {SWAP}",
        ),
    ],
)
def test_variable_is_named_for_its_fault(name: str, value: str, rest: str, file: Path) -> None:
    assert lines(file, **{name: value}) == [f"{name}: {rest}"]


def test_last_word_is_named(file: Path) -> None:
    variable = {"DEEPCLEAN__ENGINE__HOP": "x"}
    assert lines(file, "engine.hop=y", **variable) == [
        '--set engine.hop=y: engine.hop: must be a number of seconds, not "y"'
    ]
    file.write_text(GOOD + "engine: {hop: z}")
    assert lines(file, "engine.ramp=0.5", **variable) == [
        'DEEPCLEAN__ENGINE__HOP: engine.hop: must be a number of seconds, not "x"'
    ]
    load(file, ["engine.hop=2"], variable)
