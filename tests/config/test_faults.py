"""Configuration: the exact line that each single fault of a file gives."""

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from deepclean.config import Config, load
from deepclean.errors import ConfigError

GOOD: dict[str, Any] = {
    "interferometer": "H1",
    "input": {"strain": {"directory": "/strain"}, "witnesses": [{"directory": "/witnesses"}]},
    "output": {"directory": "/cleaned"},
    "couplings": {
        "60Hz": {"bands": [[55, 65]], "witnesses": ["PEM-MAINS", "ASC-PITCH"]},
        "30Hz": {"bands": [[27, 33]], "witnesses": ["PEM-MAINS"]},
    },
}
GONE = object()

MISSING = ": missing; add it"
SERVER = "or name a server that streams the strain (input.arrakis.server)"
BRANCH = ": must be a mapping of keys, not"
SECONDS = ": must be a number of seconds, not"
AUTO = ": must be auto or a positive number of seconds, not"
WHOLE = ": must be a whole number, not"
TEXT = ": must be text, not"
PAIR = "[0]: must be [low, high], two numbers in Hz"
PAIRS = ": must be a list of [low, high]; write `band: [low, high]` for a single one"
PATH = "names no directory; write it in full"
CHANNEL = "is not a channel name; use letters, digits, _, - and . (the prefix may be left out)"
DESCRIPTION = "is not a LIGO-T050017 description; use letters, digits, _, + and #, no dash or dot"
SAMPLES = "s is not a whole number of samples at"
HOP = "s is not 1/16, 1/8, 1/4, 1/2 or a whole number of seconds up to 64; use one of these"
NAME = ": a coupling's name holds letters, digits, _ and - only, a letter or digit first; rename it"
TWICE = "that noise would be subtracted twice; disable one of them or merge them"
OWN = "too; write to a directory of its own"
ARCHIVE = "are gone before the archive has merged"
ENGINE, STRAIN = "4096 Hz (engine.rate)", "16384 Hz (strain.rate)"

# Where the value stands, the value, and what follows the key in the message.
VALUES: list[tuple[str, Any, str]] = [
    ("interferometer", "h1", ': "h1" is not a capital letter and a digit; write it like H1'),
    ("interferometer", GONE, MISSING),
    ("strain/rate", 16384.5, f"{WHOLE} 16384.5"),
    ("strain/rate", True, f"{WHOLE} true"),
    ("strain/rate", "16384", f'{WHOLE} "16384"'),
    ("strain/rate", 0, ": must be greater than 0, not 0"),
    ("strain/rate", 2**31, ": must be less than 2147483648, not 2147483648"),
    ("strain/channel", 3, f"{TEXT} 3"),
    ("strain/channel", "a b", f': "H1:a b" {CHANNEL}'),
    ("input", GONE, f".strain.directory{MISSING}, {SERVER}"),
    ("input", 3, f"{BRANCH} 3"),
    ("input/strain/directory", 3, ": must be a path, not 3"),
    ("input/strain/directory", "~/x", f': "~/x" {PATH}'),
    ("input/strain/directory", "", f': "" {PATH}'),
    ("input/strain/description", "a-b", f': "a-b" {DESCRIPTION}'),
    ("input/witnesses", {"directory": "/w"}, ": must be a list, not a mapping"),
    ("input/witnesses", ["/w"], f'[0]{BRANCH} "/w"'),
    ("input/witnesses", [{}], f"[0].directory{MISSING}"),
    ("input/deadline", "soon", f'{SECONDS} "soon"'),
    ("input/deadline", -1, ": must be greater than or equal to 0, not -1.0"),
    ("input/deadline", True, f"{SECONDS} true"),
    ("input/deadline", None, f"{SECONDS} null"),
    ("input/deadline", 1e10, f"{SECONDS} 10000000000.0"),
    ("input/deadline", 10**400, f"{SECONDS} 1{'0' * 400}"),
    ("input/probe", 0, ": must be greater than 0, not 0.0"),
    ("input/probe", "1e-10", ": 1e-10 s is finer than a nanosecond; give at most nine decimals"),
    ("input/checksum", 1, ": must be true or false, not 1"),
    ("output", {}, f".directory{MISSING}"),
    ("output/products", [], ": must not be empty"),
    ("output/products", ["OUT"], '[0]: must be OUT_DQ, PRODUCTION or CANARY, not "OUT"'),
    ("output/compression", "zip", ': must be none or gzip, not "zip"'),
    ("output/retention", 3, f"{BRANCH} 3"),
    ("output/retention/count", 0, ": must be greater than 0, not 0"),
    ("output/archive/length", 0.5, f"{WHOLE} 0.5"),
    ("output/archive/format", "h5", ': must be gwf or hdf5, not "h5"'),
    ("engine/resample/attenuation", "80", ': must be a number, not "80"'),
    ("couplings", [], f"{BRANCH} a list"),
    ("couplings/60Hz", None, f"{BRANCH} null"),
    ("couplings/60Hz/about", 60, f"{TEXT} 60"),
    ("couplings/60Hz/model", 3, ": must be a path, not 3"),
    ("couplings/60Hz/witnesses", [], ": must not be empty"),
    ("couplings/60Hz/witnesses", GONE, MISSING),
    ("couplings/60Hz/witnesses", "PEM", ': must be a list, not "PEM"'),
    ("couplings/60Hz/witnesses", ["A", 3], f"[1]{TEXT} 3"),
    ("couplings/60Hz/bands", GONE, MISSING),
    ("couplings/60Hz/bands", [], ": must not be empty"),
    ("couplings/60Hz/bands", [55, 65], PAIRS),
    ("couplings/60Hz/bands", [[1, 2, 3]], PAIR),
    ("couplings/60Hz/bands", [[1, "2"]], PAIR),
    ("couplings/60Hz/band", [55, 65], ": both band and bands are set; keep one of them"),
    ("couplings/60Hz/predict/stride", 0, f"{AUTO} 0"),
    ("couplings/60Hz/predict/stride", "Auto", f'{AUTO} "Auto"'),
    ("couplings/60Hz/bandpass/tolerance", 1, ": must be less than 1, not 1"),
    ("training/architecture_options", 3, f"{BRANCH} 3"),
    ("gate/fade", 0, ": must be greater than 0, not 0.0"),
    ("retrain/device", "gpu", ': "gpu" is not cpu, auto, cuda or one GPU; write it like cuda:1'),
    ("retrain/lag", -1, ": must be greater than or equal to 0, not -1"),
    ("retrain/better_by", 1, ": must be less than 1, not 1"),
    ("training/seed", -1, ": must be greater than or equal to 0, not -1"),
]

UNKNOWN: list[tuple[str, Any, str]] = [
    ("engine/Hop", 1, ": unknown key; did you mean hop?"),
    ("extend", "base.yaml", ": unknown key; did you mean extends?"),
    ("log/colour", "red", ": unknown key; the valid ones are level, format"),
]

NOT_TOGETHER: list[tuple[str, Any, str]] = [
    (
        "engine/witnesses/limits",
        {"PEM-MAIN": 3.0},
        ": H1:PEM-MAIN is no coupling's witness; did you mean H1:PEM-MAINS?",
    ),
    ("gate/window", 7.5, ": 7.5 s is not a whole number of seconds from 4 on"),
    ("gate/open_below", 1.1, ": 1.1 is above close_above, 1.003; lower it"),
    ("gate/fade", 9, ": 9 s is longer than dwell, 8 s; shorten it"),
    ("strain/channel", "L1:A", ": L1:A is not a channel of H1; name one of H1's"),
    ("strain/state_vector", "L1:A", ": L1:A is not a channel of H1; name one of H1's"),
    ("engine/hop", 0.3, f": 0.3 {HOP}"),
    ("engine/hop", 65, f": 65 {HOP}"),
    ("engine/ramp", 0.0001, f": 0.0001 {SAMPLES} {STRAIN}; use 0.001953125"),
    (
        "engine/resample/max_delay",
        0.05,
        ": 0.05 s is less than one sample at 16 Hz (slowest_rate); use at least 0.0625",
    ),
    ("output/directory", "/witnesses", f": /witnesses is input.witnesses[0].directory {OWN}"),
    ("output/directory", "/x/../strain", f": /strain is input.strain.directory {OWN}"),
    ("output/archive/directory", "/strain", f": /strain is input.strain.directory {OWN}"),
    ("output/archive/directory", "/cleaned", f": /cleaned is output.directory {OWN}"),
    (
        "output/frames",
        False,
        ": there would be no output; write frames, or name a server (output.arrakis.server)",
    ),
    ("output/products", ["OUT_DQ", "OUT_DQ"], ": OUT_DQ is listed 2 times; keep one"),
    ("couplings", {}, ": there is none; add one"),
    ("couplings/a.b", {"bands": [[80, 90]], "witnesses": ["A"]}, NAME),
    ("couplings/-a", {"bands": [[80, 90]], "witnesses": ["A"]}, NAME),
    (
        "couplings/60HZ",
        {"bands": [[80, 90]], "witnesses": ["A"]},
        ": has the same frame channels as 60Hz (60HZ_...); rename one of them",
    ),
    ("couplings/60Hz/bands", [[30, 65]], f": 30-65 Hz overlaps 27-33 Hz of 30Hz: {TWICE}"),
    (
        "couplings/60Hz/bands",
        [[65, 55]],
        "[0]: 65-55 Hz: the low edge is not below the high edge; swap them",
    ),
    ("couplings/60Hz/bands", [[0, 20]], "[0]: 0-20 Hz: an edge is not above 0 Hz; raise it"),
    (
        "couplings/60Hz/bands",
        [[60, 2048]],
        "[0]: 60-2048 Hz: an edge is not below 2048 Hz, half of engine.rate; lower it",
    ),
    ("couplings/60Hz/bands", [[55, 60], [59, 65]], "[1]: 59-65 Hz overlaps 55-60 Hz; merge them"),
    (
        "couplings/60Hz/bandpass/transition",
        55,
        ": 55 Hz leaves no stop band below the band edge at 55 Hz; use less than 55",
    ),
    ("couplings/60Hz/bandpass/settle_in", 0.1, f": 0.1 {SAMPLES} {ENGINE}; use 0.099609375"),
    ("couplings/60Hz/predict/kernel", 0.9, f": 0.9 {SAMPLES} {ENGINE}; use 0.900390625"),
    ("couplings/60Hz/predict/edge", 0.03, f": 0.03 {SAMPLES} {ENGINE}; use 0.029296875"),
    (
        "couplings/60Hz/predict/edge",
        0.5,
        ": 0.5 s is not less than half of the kernel, 1 s; shorten the edge or lengthen the kernel",
    ),
    (
        "couplings/60Hz/predict/stride",
        1,
        ": 1 s leaves samples that no window predicts; use at most kernel - 2 edge, 0.9375",
    ),
    ("couplings/60Hz/predict/stride", 0.1, f": 0.1 {SAMPLES} {ENGINE}; use 0.099609375"),
    ("couplings/60Hz/witnesses", ["A", "B", "H1:A"], ": H1:A is listed 2 times; keep one"),
    (
        "couplings/60Hz/witnesses",
        ["GDS-CALIB_STRAIN"],
        ": H1:GDS-CALIB_STRAIN is the strain itself; remove it",
    ),
    ("couplings/60Hz/witnesses", ["L1:A"], ": L1:A is not a channel of H1; name one of H1's"),
    ("training/overlap", 8, ": 8 s is not less than the window, 4 s; shorten it"),
    ("training/overlap", 0.1, f": 0.1 {SAMPLES} {ENGINE}; use 0.099609375"),
    ("training/window", 8.001, f": 8.001 {SAMPLES} {ENGINE}; use 8.001953125"),
    ("retrain/held_out", 63, ": 63 s are too few to judge by; use at least 64"),
    ("retrain/held_out", 2048, ": all 2048 s of retrain.min_ready are held out; use less"),
    ("retrain/min_ready", 4097, ": 4097 s are more than the 4096 s of retrain.span; use less"),
    ("retrain/within", 4095, ": 4095 s are less than the 4096 s of retrain.span; use more"),
    ("retrain/refit/held_out", 63, ": 63 s are too few to judge by; use at least 64"),
    (
        "retrain/refit/min_ready",
        1801,
        ": 1801 s are more than the 1800 s of retrain.refit.span; use less",
    ),
]

# Faults that take several changes: these, and the whole line.
SEVERAL: list[tuple[dict[str, Any], str]] = [
    (
        {"output/archive/directory": "/archive", "output/archive/length": 4096},
        f"output.retention.age: 600 s {ARCHIVE} 4096 s (output.archive.length); "
        "use at least 4156, or a shorter length",
    ),
    (
        {
            "output/archive/directory": "/archive",
            "output/retention/age": None,
            "output/retention/count": 315,
        },
        f"output.retention.count: 315 files {ARCHIVE} 256 s (output.archive.length); "
        "use at least 316, or a shorter length",
    ),
    (
        {"output/arrakis/server": "http://a:1"},
        'output.arrakis.server: "http://a:1" is not the address of an Arrakis server; '
        "write it like grpc://HOST:31206",
    ),
    (
        {"output/arrakis/server": "grpc://a:1", "output/arrakis/stride": 0.1},
        "output.arrakis.stride: 0.1 s is not a multiple of 1/16 s; use one",
    ),
    (
        {"output/arrakis/server": "grpc://a:1", "strain/rate": 16380},
        "strain.rate: 16380 Hz is not a multiple of 16 Hz, as published blocks need",
    ),
    (
        {
            "output/arrakis/server": "grpc://a:1",
            "output/frames": False,
            "output/archive/directory": "/archive",
            "output/retention/age": None,
        },
        "output.frames: the files of output.archive are made from the frames; write these",
    ),
    (
        {"couplings/60Hz/witnesess": ["A"], "couplings/60Hz/witnesses": GONE},
        "couplings.60Hz.witnesess: unknown key; did you mean witnesses?",
    ),
    (
        {"couplings/60Hz/enabled": False, "couplings/30Hz/enabled": False},
        "couplings: none is enabled; enable at least one",
    ),
    (
        {"couplings/60Hz/bands": [[60, 600]], "strain/rate": 1024},
        "couplings.60Hz.bands[0]: 60-600 Hz: an edge is not below 512 Hz, half of strain.rate; "
        "lower it",
    ),
    (
        {
            "engine/hop": 0.0625,
            "engine/rate": 1000,
            "couplings": {"60Hz": {**GOOD["couplings"]["60Hz"], "predict": {"edge": 0.03}}},
        },
        f"engine.hop: 0.0625 {SAMPLES} 1000 Hz (engine.rate); use a longer hop or a multiple of "
        "16 Hz",
    ),
    (
        {"engine/hop": 0.5, "strain/rate": 16385, "engine/ramp": 1},
        f"engine.hop: 0.5 {SAMPLES} 16385 Hz (strain.rate); use a longer hop or a multiple of 2 Hz",
    ),
]


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return GOOD with other values at some keys; GONE takes a key away."""
    tree = deepcopy(GOOD)
    for key, value in changes.items():
        *parents, name = key.split("/")
        section = tree
        for part in parents:
            section = section.setdefault(part, {})
        section[name] = value
        if value is GONE:
            del section[name]
    return tree


def fault(path: Path, tree: Mapping[str, Any]) -> str:
    """Return the message of the error that a file with `tree` gives."""
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError) as caught:
        load(path, (), {})
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "H1.yaml"


def test_unchanged_is_good(file: Path) -> None:
    file.write_text(json.dumps(GOOD))
    assert isinstance(load(file, (), {}), Config)


@pytest.mark.parametrize(("key", "value", "message"), [*VALUES, *UNKNOWN, *NOT_TOGETHER])
def test_one_fault_is_one_line(key: str, value: Any, message: str, file: Path) -> None:
    shown = key.replace("/", ".")
    assert fault(file, changed({key: value})) == f"{file}: {shown}{message}"


@pytest.mark.parametrize(("changes", "line"), SEVERAL)
def test_fault_of_several_keys_is_one_line(changes: dict[str, Any], line: str, file: Path) -> None:
    assert fault(file, changed(changes)) == f"{file}: {line}"


def test_nothing_is_asked_of_what_is_not_used(file: Path) -> None:
    """A transition too wide is no fault where the filter is not built from it."""
    for bandpass in ({"filter": "butterworth"}, {"settle_in": 0.125}):
        narrow = {"bands": [[5, 8]], "witnesses": ["A"], "bandpass": {"transition": 6, **bandpass}}
        file.write_text(json.dumps(changed({"couplings/5Hz": narrow})))
        load(file, (), {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("engine/hop", 0.0625),
        ("engine/hop", 64),
        ("gate/fade", 8),
        ("engine/resample/max_delay", 0.0625),
        ("couplings/60Hz/bands", [[2047, 2047.5]]),
        ("couplings/60Hz/bandpass/transition", 54.5),
        ("couplings/60Hz/predict/edge", 0),
        ("couplings/60Hz/predict/stride", 0.9375),
        ("training/overlap", 0),
        ("output/retention/age", None),
    ],
)
def test_limits_are_allowed(key: str, value: Any, file: Path) -> None:
    file.write_text(json.dumps(changed({key: value})))
    load(file, (), {})


def test_bands_may_touch(file: Path) -> None:
    file.write_text(json.dumps(changed({"couplings/30Hz/bands": [[27, 55]]})))
    load(file, (), {})
