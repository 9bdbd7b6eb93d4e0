"""The daemon as a process, and the command line beside it: a version comes into force."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.io import gwf
from deepclean.models import rejections, store
from deepclean.rollout.record import path_in
from tests.helpers import small_site as site
from tests.helpers.site_runs import COMMAND, contents, daemon, is_written, stop, until
from tests.helpers.small_site import START

VERSION = "H1:DEEPCLEAN-60HZ_MODEL_VERSION"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = site.small_config(tmp_path)
    site.publish_model(made, version=2)
    site.publish_model(made, version=3)
    site.publish_model(made, version=1)
    site.write_site(made, START, 4)
    return made


def models(config: Config, *arguments: str) -> None:
    """Run `deepclean models`."""
    file = str(config.input.strain.directory.parent / "small.yaml")
    command, *rest = arguments
    subprocess.run([*COMMAND, "models", command, "-c", file, *rest], check=True)


def version_of(config: Config, second: int) -> set[int]:
    path = config.output.directory / f"H-H1_DEEPCLEAN-{second}-1.gwf"
    (series,) = gwf.read(path, [VERSION]).values()
    assert isinstance(series, Series)
    return set(series.samples.tolist())


def test_promotion_comes_into_force_during_the_stream(config: Config, tmp_path: Path) -> None:
    log, second = tmp_path / "log", START + 4
    with daemon(config, log, "--set", "models.probe=0.02") as process:

        def another() -> None:
            nonlocal second
            site.write_site(config, second, 1)
            until(partial(is_written, config, second - 1), process)
            second += 1

        def while_it_runs(said: str) -> None:
            for _ in range(200):
                if said in log.read_text():
                    return
                another()
            raise AssertionError(f"never said: {said}")

        another()
        # One that is damaged after it was promoted: the pointer moves, the daemon does not.
        damaged = config.models.directory / "H1" / "60Hz" / "3" / "weights.safetensors"
        models(config, "promote", "60Hz", "3", "--why", "looks good")
        whole = damaged.read_bytes()
        while_it_runs("60Hz version 3 in force, formerly version 1")
        damaged.write_bytes(whole[:100])
        store.promote(damaged.parents[1], 2, lambda path: None)
        while_it_runs("60Hz version 2 in force, formerly version 3")
        (config.models.directory / "H1" / "60Hz" / "production").write_text("3\n")
        while_it_runs("60Hz version 3 refused as production, all stays as it is: ")
        another()
        stop(process)
    live = contents(config.output.directory)
    assert sorted(live) == list(range(START + 3, second))  # not one is missing
    versions = [version_of(config, number) for number in sorted(live)]
    assert all(len(one) == 1 for one in versions)
    in_order = [one.pop() for one in versions]
    assert list(dict.fromkeys(in_order)) == [1, 3, 2]
    record = path_in(config.output.directory, "H1_DEEPCLEAN").read_text()
    events = [json.loads(line) for line in record.splitlines()]
    for event in events:
        if event["what"] == "in_force":
            begun = START + 3 + in_order.index(event["version"])
            assert float(event["instant"]) == begun
    assert [e["what"] for e in events] == ["started"] + 2 * ["offered", "in_force"] + ["refused"]
    assert rejections.read(config.models.directory / "H1" / "60Hz", 3) is not None
