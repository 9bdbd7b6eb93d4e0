"""Configuration: the shipped files, and what is written of one: YAML, hash, JSON schema."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deepclean.config import Config, json_schema, load, to_yaml

SHIPPED = Path(__file__).parents[2] / "config"


def read(path: Path, *overrides: str) -> Config:
    return load(path, overrides, {})


@pytest.mark.parametrize("site", ["H1", "L1", "V1", "K1"])
def test_resolved_yaml_loads_as_the_same(site: str, tmp_path: Path) -> None:
    config = read(SHIPPED / f"{site}.yaml")
    path = tmp_path / "resolved.yaml"
    path.write_text(to_yaml(config))
    assert read(path) == config
    assert read(path).hash == config.hash


OPTIONS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.floats(-9, 9)),
    max_size=3,
)


@settings(max_examples=25)  # each reads and writes a file
@given(about=st.text(max_size=20), tolerance=st.floats(1e-30, 0.5), options=OPTIONS)
def test_any_value_survives_yaml(
    about: str, tolerance: float, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    coupling = {
        "about": about,
        "bands": [[55, 65]],
        "witnesses": ["PEM-MAINS"],
        "bandpass": {"tolerance": tolerance},
    }
    config = Config.model_validate(
        {
            "interferometer": "H1",
            "input": {"strain": {"directory": "/a b"}},
            "output": {"directory": "/out: #1"},
            "models": {"directory": "/models"},
            "training": {"architecture": "other:network", "architecture_options": options},
            "couplings": {"60": coupling},
        }
    )
    path = tmp_path_factory.getbasetemp() / "survives.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert read(path) == config


def test_hash_is_of_what_is_configured(tmp_path: Path) -> None:
    path = tmp_path / "K1.yaml"
    resolved = json.loads(read(SHIPPED / "K1.yaml").model_dump_json())
    path.write_text(json.dumps(resolved))
    config = read(path)
    assert re.fullmatch("[0-9a-f]{64}", config.hash)
    path.write_text("# the same, turned round\n" + json.dumps(dict(reversed(resolved.items()))))
    assert read(path).hash == config.hash
    assert read(path, "engine.ramp='0.250'", "couplings.60Hz_mains_only.band=[55, 65]") == config
    changes = (
        "engine.hop=2",
        f"couplings.60Hz_mains_only.witnesses={[*reversed(config.witness_channels)]}",
        "couplings.60Hz_mains_only.about=x",
        "log.level=ERROR",
    )
    assert len({config.hash, *(read(path, change).hash for change in changes)}) == 5


def test_hash_does_not_depend_on_the_process() -> None:
    script = "import sys; from deepclean.config import load; print(load(sys.argv[1], (), {}).hash)"
    command = [sys.executable, "-c", script, str(SHIPPED / "H1.yaml")]
    environ = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(SHIPPED.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.strip() == read(SHIPPED / "H1.yaml").hash


def test_schema_describes_every_key() -> None:
    schema = json_schema()
    parts = {"Config": schema, **schema["$defs"]}
    assert set(schema["properties"]) == {*Config.model_fields, "extends"}
    assert {"band", "bands"} <= set(parts["CouplingConfig"]["properties"])
    for part, content in parts.items():
        assert content["additionalProperties"] is False, part
        assert "required" not in content, part
        for key, field in content["properties"].items():
            described = parts.get(field.get("$ref", "").rpartition("/")[2], field)
            assert field.get("description") or described.get("description"), f"{part}.{key}"
    assert json.loads(json.dumps(schema)) == schema


def test_tree_without_a_file_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="couplings: there is none; add one"):
        Config.model_validate(
            {
                "interferometer": "H1",
                "input": {"strain": {"directory": "/a"}},
                "output": {"directory": "/b"},
            }
        )


# The shipped files


@pytest.mark.parametrize(
    ("site", "rate", "couplings", "enabled", "entries", "witnesses"),
    [
        ("H1", 16384, 9, 7, 130, 75),
        ("L1", 16384, 4, 2, 67, 48),
        ("V1", 20000, 15, 15, 266, 173),
        ("K1", 16384, 1, 1, 9, 9),
    ],
)
def test_published_couplings_are_all_there(
    site: str, rate: int, couplings: int, enabled: int, entries: int, witnesses: int
) -> None:
    config = read(SHIPPED / f"{site}.yaml")
    assert config.interferometer == site
    assert config.strain.rate == rate
    assert len(config.couplings) == couplings
    assert len(config.enabled_couplings) == enabled
    assert sum(len(coupling.witnesses) for coupling in config.couplings.values()) == entries
    assert len(config.witness_channels) == witnesses
    assert all(name.startswith(f"{site}:") for name in config.witness_channels)


@pytest.mark.parametrize("site", ["H1", "L1"])
def test_mains_is_cleaned_with_fast_witnesses(site: str) -> None:
    couplings = read(SHIPPED / f"{site}.yaml").couplings
    assert couplings["60Hz"].enabled
    assert not couplings["60Hz_O3"].enabled
    assert not couplings["60Hz_mains_only"].enabled
    assert not any("INMON" in name for name in couplings["60Hz"].witnesses)


def test_virgo() -> None:
    config = read(SHIPPED / "V1.yaml")
    assert config.strain.channel == "V1:Hrec_hoft_raw_20000Hz"
    assert config.strain.state_vector is None
    assert config.couplings["142-162Hz"].bands == ((142.0, 162.0),)


def test_shipped_directories() -> None:
    config = read(SHIPPED / "H1.yaml")
    assert config.input.strain_frames.directory == Path("/dev/shm/kafka/H1")
    assert config.input.strain.description == "H1_llhoft"
    assert config.input.witnesses[0].directory == Path("/dev/shm/lldetchar/H1")
    assert config.output.directory == Path("/dev/shm/deepclean/H1")
    assert config.models.directory == Path("/var/lib/deepclean/models")
