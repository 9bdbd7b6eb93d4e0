"""What a simulated site is: compositions by rule, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from deepclean.errors import ConfigError
from deepclean.simulate import Site, compose, with_dummies
from deepclean.simulate.compose import Problem
from deepclean.simulate.site import Hum, Line, Motion, SimulatedCoupling, SimulatedWitness, Term
from tests.helpers.sites import SHIPPED, configured_site, demo_site, shipped

MAINS = "H1:PEM-CS_MAINSMON_EBAY_1_DQ"


def problems(name: str) -> dict[str, Problem]:
    """Return all the subtraction problems of a shipped configuration, enabled or not."""
    return {
        coupling: (content.bands[0], content.witnesses)
        for coupling, content in shipped(name).couplings.items()
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_every_configured_problem_can_be_composed(name: str) -> None:
    site = compose(shipped(name).interferometer, problems(name))
    assert [coupling.name for coupling in site.couplings] == list(problems(name))
    listed = {witness for _, witnesses in problems(name).values() for witness in witnesses}
    assert {witness.channel for witness in site.witnesses} == listed
    assert all(witness.terms for witness in site.witnesses)


def test_a_prefix_may_be_left_out() -> None:
    bare = {
        name: (band, tuple(witness.removeprefix("V1:") for witness in witnesses))
        for name, (band, witnesses) in problems("V1").items()
    }
    assert compose("V1", bare) == compose("V1", problems("V1"))


def test_rates_are_mixed() -> None:
    def rates(site: Site) -> set[int]:
        return {witness.rate for witness in site.witnesses}

    assert rates(configured_site("H1")) == rates(demo_site()) == {16, 256, 512, 2048}
    assert rates(configured_site("V1")) == {16, 50, 500, 2000, 10000, 20000}


def test_a_rate_can_be_chosen() -> None:
    assert compose("H1", problems("demo"), rates={MAINS: 4096}).channels[MAINS] == 4096
    with pytest.raises(ConfigError, match="EBAY_1_DQ at 64 Hz cannot hold mains_60"):
        compose("H1", problems("demo"), rates={MAINS: 64})


def test_mains_give_lines_with_sidebands_and_other_bands_hums() -> None:
    site = configured_site("H1", couplings=["60Hz", "105Hz"])
    hum, line = site.carriers
    assert isinstance(line, Line)
    assert line.frequency == 60
    assert isinstance(hum, Hum)
    assert hum.frequency == 106
    assert [len(coupling.bilinear) > 0 for coupling in site.couplings] == [True, True]
    mains_only = configured_site("K1").couplings[0]
    assert mains_only.linear > 0
    assert mains_only.bilinear == ()


def test_sidebands_stay_inside_the_band() -> None:
    for name in SHIPPED:
        site = configured_site(name)
        motions = {motion.name: motion for motion in site.motions}
        carriers = {carrier.name: carrier for carrier in site.carriers}
        for coupling in site.couplings:
            middle = carriers[coupling.carrier].frequency
            for motion, _ in coupling.bilinear:
                reach = motions[motion].frequency + 2 * motions[motion].width
                assert coupling.band[0] < middle - reach < middle + reach < coupling.band[1]


def test_witnesses_are_the_same_hardware_for_any_seed() -> None:
    assert replace(configured_site("H1", seed=1), seed=0) == configured_site("H1")


def test_dummies() -> None:
    site = with_dummies(demo_site(), 2000)
    assert len(site.channels) == len(demo_site().channels) + 2000
    assert {witness.rate for witness in site.witnesses[6:]} == {16, 256}


def test_truth_channels_are_named_after_couplings() -> None:
    assert list(demo_site().truth) == ["H1:TRUTH-BACKGROUND", "H1:TRUTH-60HZ_NOISE"]
    assert "V1:TRUTH-142_162HZ_NOISE" in configured_site("V1").truth


def site(**changes: Any) -> Site:
    fields: dict[str, Any] = {
        "ifo": "H1",
        "strain": "H1:STRAIN",
        "rate": 256,
        "state": "H1:STATE",
        "curve": "aLIGO175MpcT1800545",
        "motions": (Motion("sway", 1.0, 0.2),),
        "carriers": (Line("mains", 60),),
        "couplings": (SimulatedCoupling("60Hz", (55.0, 65.0), "mains", 10.0, (("sway", 3.0),)),),
        "witnesses": (SimulatedWitness("H1:MAINS", 256, (Term("mains", 1.0),), 0.0),),
    }
    return Site(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"carriers": (Line("sway", 60),)}, "sway is defined twice"),
        ({"strain": "H1:MAINS"}, "H1:MAINS is defined twice"),
        ({"motions": ()}, "60Hz uses sway, which is not defined"),
        ({"carriers": (Line("main", 60),)}, "60Hz uses mains, .* did you mean main"),
        (
            {"witnesses": (SimulatedWitness("H1:W", 16, (Term("tilt", 1.0),), 0.0),)},
            "H1:W uses tilt, which is not defined",
        ),
        ({"rate": 64}, "H1:STRAIN at 64 Hz cannot hold mains"),
        (
            {"witnesses": (SimulatedWitness("H1:W", 2, (Term("sway", 1.0),), 0.0),)},
            "H1:W at 2 Hz cannot hold sway",
        ),
        ({"carriers": (Hum("mains", 60, 5.0),)}, "mains with its sidebands is wider than 20 Hz"),
    ],
)
def test_a_site_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    assert site().channels["H1:MAINS"] == 256
    with pytest.raises(ConfigError, match=said):
        site(**changes)


def test_all_faults_of_a_site_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        site(motions=(), carriers=())
    assert len(caught.value.faults) == 3
