"""`deepclean witnesses` on the demo's simulated site, where it is known what witnesses what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepclean.core.time import Span
from deepclean.simulate.files import Layout
from deepclean.simulate.history import write_history
from deepclean.simulate.simulator import Simulator
from deepclean.simulate.variants import with_dummies
from tests.helpers.commands import Run
from tests.helpers.sites import CONFIGURATIONS, demo_site

START, SECONDS, DECOYS = 1_420_000_000, 64, 20
MAINS = "H1:PEM-CS_MAINSMON_EBAY_1_DQ"
ANGULAR = {
    f"H1:ASC-{name}_IN1_DQ" for name in ("CHARD_P", "CHARD_Y", "DHARD_P", "PRC2_P", "SRC1_Y")
}
PATHS = "--strain strain --witnesses witnesses"
COMMAND = (
    f"witnesses -c {CONFIGURATIONS / 'demo.yaml'} --coupling 60Hz --start {START} "
    f"--end {START + SECONDS} {PATHS} --json"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's frames, with channels that witness nothing."""
    made = tmp_path_factory.mktemp("site")
    layout = Layout(
        strain=made / "strain", witnesses=made / "witnesses", strain_length=16, witness_length=16
    )
    site = with_dummies(demo_site(), DECOYS)
    list(write_history(Simulator(site), layout, Span.of_seconds(START, SECONDS)))
    return made


def test_products_with_the_mains_find_every_witness(deepclean: Run, place: Path) -> None:
    done = deepclean(place, f"{COMMAND} --times {MAINS} --joint 6").good()
    held = json.loads(done.stdout)
    best = [(one["channel"], one["carrier"]) for one in held["candidates"][:6]]
    assert set(best) == {(name, MAINS) for name in ANGULAR} | {(MAINS, None)}
    assert held["candidates"][5]["mean"] > 3 * held["candidates"][6]["mean"]
    steps = held["joint"]["steps"]
    assert {step["channel"] for step in steps} <= ANGULAR | {MAINS}
    assert MAINS in {step["channel"] for step in steps}
    assert 0.5 < steps[-1]["residual"] < 0.7 < steps[0]["residual"]


def test_coherence_alone_finds_only_the_line(deepclean: Run, place: Path) -> None:
    held = json.loads(deepclean(place, COMMAND).stdout)
    first, second = held["candidates"][:2]
    assert (first["channel"], held["frequencies"][first["peak_bin"]]) == (MAINS, 60)
    assert first["peak"] > 0.9
    assert second["mean"] < 3 * held["chance"]["mean"]


def test_the_shipped_model_listens_to_as_many_as_there_are_motions(
    deepclean: Run, place: Path
) -> None:
    """Five angular witnesses see mixtures of three motions: any three say it all."""
    held = json.loads(deepclean(place, f"{COMMAND} --model production").stdout)
    asked = {one["channel"]: one for one in held["candidates"] if "saliency" in one}
    assert set(asked) == ANGULAR | {MAINS}
    used = {name for name, one in asked.items() if one["saliency"] > 0}
    assert len(used) == 4
    assert max(asked, key=lambda name: asked[name]["saliency"]) == MAINS
    ratio = held["model"]["asd_ratio"]
    assert ratio < 0.7
    assert asked[MAINS]["without"] > 0.95
    for name, one in asked.items():
        assert one["without"] > ratio if name in used else one["without"] == ratio


@pytest.mark.slow
def test_the_shipped_network_listens_to_all_of_its_witnesses(deepclean: Run, place: Path) -> None:
    network = CONFIGURATIONS.parent / "models" / "H1" / "60Hz" / "1"
    held = json.loads(deepclean(place, f"{COMMAND} --model {network}").stdout)
    asked = {one["channel"]: one for one in held["candidates"] if "saliency" in one}
    assert set(asked) == ANGULAR | {MAINS}
    assert max(asked, key=lambda name: asked[name]["saliency"]) == MAINS
    assert all(one["saliency"] > 0.01 for one in asked.values())
    ratio = held["model"]["asd_ratio"]
    assert ratio < 0.7
    assert asked[MAINS]["without"] > 0.95
    assert all(one["without"] > ratio for one in asked.values())
