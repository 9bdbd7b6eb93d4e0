"""Values from the environment and the command line, as shells and unit files set them."""

from __future__ import annotations

from pathlib import Path

from deepclean.config import load
from tests.helpers.small_site import small_config


def test_an_empty_variable_is_as_unset(tmp_path: Path) -> None:
    """Unit files and containers set what they have no value for to nothing."""
    plain = small_config(tmp_path)
    keys = "METRICS__PORT STRAIN__STATE_VECTOR INPUT__MAX_LAG OUTPUT__ARCHIVE__DIRECTORY"
    for value in ("", "  "):
        empty = {f"DEEPCLEAN__{key}": value for key in keys.split()}
        assert load(tmp_path / "small.yaml", (), environ=empty) == plain


def test_a_hash_in_a_value_begins_no_comment(tmp_path: Path) -> None:
    small_config(tmp_path)
    path = tmp_path / "small.yaml"
    for value in ("/data/run #3", "  /data/run #3 "):
        config = load(path, (), environ={"DEEPCLEAN__OUTPUT__DIRECTORY": value})
        assert config.output.directory == Path("/data/run #3")
    config = load(path, ["output.directory='/data/run #3'", "metrics.port=9110 # not 9109"], {})
    assert config.output.directory == Path("/data/run #3")
    assert config.metrics.port == 9110


def test_one_of_several_gpus_may_be_named(tmp_path: Path) -> None:
    assert small_config(tmp_path, "runtime.device=cuda:1").runtime.device == "cuda:1"
