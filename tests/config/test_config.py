"""Configuration: what a file, its base and the overrides make together."""

import copy
import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deepclean.config import Config, load
from deepclean.config.engine import EngineConfig, GateConfig
from deepclean.config.settings import gate_settings
from deepclean.config.types import Section
from deepclean.core.gate.settings import GateSettings
from deepclean.core.time import NS, format_gps

MINIMAL = """
interferometer: H1
input: {strain: {directory: strain}, witnesses: [{directory: witnesses}]}
output: {directory: cleaned}
couplings:
  60Hz: {band: [55, 65], witnesses: [PEM-MAINS, "H1:ASC-PITCH"]}
  30-32Hz: {enabled: false, bands: [[30, 31], [31, 32]], witnesses: [PEM-MAINS]}
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "H1.yaml"
    path.write_text(MINIMAL)
    return path


def read(path: Path, *overrides: str, **environ: str) -> Config:
    return load(path, overrides, environ)


def sections(section: Section) -> Iterator[Section]:
    """Yield a section and all below it."""
    yield section
    for name in type(section).model_fields:
        value = getattr(section, name)
        below = value.values() if hasattr(value, "values") else value
        for item in below if isinstance(value, tuple) or hasattr(value, "values") else (value,):
            if isinstance(item, Section):
                yield from sections(item)


# What a file means


def test_defaults_are_those_of_the_design(minimal: Path) -> None:
    config = read(minimal)
    assert (config.strain.rate, config.engine.rate, config.engine.hop) == (16384, 4096, NS)
    assert config.output.products == ("OUT_DQ", "PRODUCTION")
    assert config.couplings["60Hz"].predict.mode == "auto"
    assert config.couplings["60Hz"].bandpass.filter == "fir"
    assert (config.runtime.device, config.runtime.threads) == ("cpu", 1)
    metrics = config.metrics
    assert (metrics.enabled, metrics.address, metrics.port) == (True, "127.0.0.1", 9109)


def test_names_are_full(minimal: Path) -> None:
    config = read(minimal)
    assert config.strain.channel == "H1:GDS-CALIB_STRAIN"
    assert config.strain.state_vector == "H1:GDS-CALIB_STATE_VECTOR"
    assert config.couplings["60Hz"].witnesses == ("H1:PEM-MAINS", "H1:ASC-PITCH")
    assert config.output.description == "H1_DEEPCLEAN"
    published = read(minimal, "output.arrakis.channels=[DEEPCLEAN-STATE_VECTOR, L1:OTHER]")
    named = ("H1:DEEPCLEAN-STATE_VECTOR", "L1:OTHER")
    assert published.output.arrakis.channels == named


def test_state_vector_may_be_absent(minimal: Path) -> None:
    assert read(minimal, "strain.state_vector=null").strain.state_vector is None


def test_band_is_short_for_bands(minimal: Path) -> None:
    couplings = read(minimal).couplings
    assert couplings["60Hz"].bands == ((55.0, 65.0),)
    assert couplings["30-32Hz"].bands == ((30.0, 31.0), (31.0, 32.0))


def test_enabled_couplings_and_their_witnesses(minimal: Path) -> None:
    assert list(read(minimal).enabled_couplings) == ["60Hz"]
    assert read(minimal).witness_channels == ("H1:ASC-PITCH", "H1:PEM-MAINS")
    both = read(minimal, "couplings.30-32Hz.enabled=true")
    assert list(both.enabled_couplings) == ["30-32Hz", "60Hz"]
    assert both.witness_channels == ("H1:ASC-PITCH", "H1:PEM-MAINS")


def test_relative_paths(minimal: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = tmp_path / "common"
    base.mkdir()
    (base / "base.yaml").write_text("output: {directory: ../cleaned}")
    text = MINIMAL.replace("output: {directory: cleaned}", "extends: common/base.yaml")
    minimal.write_text(text.replace("enabled: false", "model: models/30"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = read(minimal)
    assert config.input.strain_frames.directory == tmp_path / "strain"
    assert config.input.witnesses[0].directory == tmp_path / "witnesses"
    assert config.output.directory == tmp_path / "cleaned"
    assert config.models.directory == tmp_path / "models"
    assert config.couplings["30-32Hz"].model == tmp_path / "models/30"
    assert read(minimal, "output.directory=out").output.directory == elsewhere / "out"


def test_a_file_extends_what_comes_with_the_software(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: shipped:L1.yaml\nmodels: {directory: mine}\n")
    config = read(file)
    assert config.interferometer == "L1"
    assert config.models.directory == tmp_path / "mine"


def test_yaml_is_version_1_2(minimal: Path) -> None:
    config = read(
        minimal,
        "couplings.60Hz.about=on",
        "couplings.30-32Hz.about=2020-01-01",
        "couplings.60Hz.bandpass.tolerance=1e-5",
    )
    assert config.couplings["60Hz"].about == "on"
    assert config.couplings["30-32Hz"].about == "2020-01-01"
    assert config.couplings["60Hz"].bandpass.tolerance == 1e-5


def test_merge_keys_are_not_duplicates(minimal: Path) -> None:
    minimal.write_text(
        MINIMAL.replace("60Hz: {", "60Hz: &mains {predict: {edge: 0.0625}, ").replace(
            "{enabled: false, bands: [[30, 31], [31, 32]]", "{<<: *mains, band: [30, 32]"
        )
    )
    other = read(minimal).couplings["30-32Hz"]
    assert (other.predict.edge, other.bands) == (NS // 16, ((30.0, 32.0),))


# Durations


@given(nanoseconds=st.integers(1, 10**15))
def test_durations_are_exact(nanoseconds: int) -> None:
    assert EngineConfig.model_validate({"ramp": format_gps(nanoseconds)}).ramp == nanoseconds


def test_durations_as_nanoseconds(minimal: Path) -> None:
    config = read(minimal, "couplings.60Hz.predict.stride=0.5", "engine.hop='0.0625'")
    predict = config.couplings["60Hz"].predict
    assert (config.engine.hop, config.engine.ramp) == (62_500_000, 250_000_000)
    assert (config.input.deadline, config.input.probe) == (2_000_000_000, 50_000_000)
    assert (predict.kernel, predict.edge) == (1_000_000_000, 31_250_000)
    assert predict.stride == 500_000_000
    assert config.couplings["30-32Hz"].predict.stride is None
    assert config.couplings["60Hz"].bandpass.settle_in is None
    assert config.engine.resample.max_delay == 250_000_000
    assert config.output.retention.age == 600_000_000_000
    assert read(minimal, "output.retention.age=null").output.retention.age is None
    training = read(minimal, "training.window=8", "training.overlap=0.5").training
    assert (training.window, training.overlap) == (8 * 10**9, 500_000_000)


# Frozen


def test_nothing_can_be_changed(minimal: Path) -> None:
    options = "training.architecture_options={hidden: [8, {a: 1}]}"
    config = read(minimal, "training.architecture=other:network", options)
    seen = list(sections(config))
    assert {type(section).__name__ for section in seen} >= {
        "Config",
        "FramesConfig",
        "PredictConfig",
        "LogConfig",
    }
    for section in seen:
        for name in type(section).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, name, None)
    assert config.training.architecture_options["hidden"] == (8, {"a": 1})
    for mapping in (config.couplings, config.training.architecture_options):
        with pytest.raises(TypeError):
            mapping["60Hz"] = None  # type: ignore[index]


def test_equal_configurations_hash_alike(minimal: Path) -> None:
    assert len({read(minimal), read(minimal), read(minimal, "engine.hop=2")}) == 2


# Base, environment, command line


def test_precedence_is_base_file_environment_command_line(tmp_path: Path, minimal: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "engine: {hop: 2, rate: 2048, ramp: 0.5}\nlog: {level: ERROR}"
    )
    assert read(minimal).engine.hop == NS
    minimal.write_text("extends: base.yaml\nengine: {hop: 4, rate: 1024}\n" + MINIMAL)
    engine = read(minimal).engine
    assert (engine.hop, engine.rate, engine.ramp) == (4 * NS, 1024, NS // 2)
    engine = read(minimal, DEEPCLEAN__ENGINE__HOP="8").engine
    assert (engine.hop, engine.rate, engine.ramp) == (8 * NS, 1024, NS // 2)
    engine = read(minimal, "engine.hop=16", "engine.hop=32", DEEPCLEAN__ENGINE__HOP="8").engine
    assert (engine.hop, engine.rate, engine.ramp) == (32 * NS, 1024, NS // 2)
    assert read(minimal).log.level == "ERROR"


def test_every_setting_of_a_gate_is_a_key(minimal: Path) -> None:
    names = {field.name for field in fields(GateSettings)}
    assert set(GateConfig.model_fields) == {*names, "enabled"}
    times = {"window": 16, "dwell": 5, "memory": 33, "fade": 3.5}
    levels = {"open_below": 0.9, "close_above": 1.2, "worst_above": 4.0}
    levels |= {"guard": 5.0, "jump": 7.0, "sigma": 6.0}
    given = [f"gate.{name}={value}" for name, value in {**times, **levels}.items()]
    exact = {name: round(value * NS) for name, value in times.items()}
    expected = {**exact, **levels}
    assert set(expected) == names
    assert gate_settings(read(minimal, *given).gate) == GateSettings(**expected)  # type: ignore[arg-type]


def test_mappings_merge_and_lists_replace(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(MINIMAL)
    path = tmp_path / "local.yaml"
    path.write_text(
        "extends: base.yaml\n"
        "couplings: {60Hz: {witnesses: [PEM-OTHER], bands: [[58, 62]]}, 30-32Hz: {band: [30, 32]}}"
    )
    couplings = read(path).couplings
    assert couplings["60Hz"].witnesses == ("H1:PEM-OTHER",)
    assert couplings["60Hz"].bands == ((58.0, 62.0),)
    assert couplings["30-32Hz"].bands == ((30.0, 32.0),)
    assert not couplings["30-32Hz"].enabled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEEPCLEAN__COUPLINGS__30_32HZ__ENABLED", "true"),
        ("deepclean__couplings__30-32hz__enabled", "true"),
        ("DEEPCLEAN__COUPLINGS", "{30-32Hz: {enabled: true}}"),
    ],
)
def test_variables_find_couplings_whatever_their_case(minimal: Path, name: str, value: str) -> None:
    assert list(read(minimal, **{name: value}).enabled_couplings) == ["30-32Hz", "60Hz"]


def test_closer_variable_wins(minimal: Path) -> None:
    environ = {"DEEPCLEAN__ENGINE__HOP": "2", "DEEPCLEAN__ENGINE": "{hop: 4, ramp: 0.5}"}
    engine = read(minimal, **environ).engine
    assert (engine.hop, engine.ramp) == (2 * NS, NS // 2)


def test_byte_order_mark_is_no_text(minimal: Path) -> None:
    plain = read(minimal)
    minimal.write_text("\ufeff" + MINIMAL.lstrip(), encoding="utf-8")
    assert read(minimal) == plain


def test_free_options_from_outside(minimal: Path) -> None:
    config = read(
        minimal,
        "training.architecture=other:network",
        "training.architecture_options.kernelSize=5",
        DEEPCLEAN__TRAINING__ARCHITECTURE_OPTIONS__HIDDEN="[8, 16]",
    )
    assert config.training.architecture_options == {"hidden": (8, 16), "kernelSize": 5}


def test_other_variables_are_not_ours(minimal: Path) -> None:
    assert read(minimal, DEEPCLEAN_TEST_DATA="x", PATH="/bin") == read(minimal)


def test_configuration_travels_to_other_processes(minimal: Path) -> None:
    config = read(minimal, "training.loss_options={fft_length: 2}")
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config
