"""What a simulated site is: presets, compositions by rule, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deepclean.errors import ConfigError
from deepclean.simulate import PRESETS, Site, compose, preset, with_dummies
from deepclean.simulate.published import PUBLISHED
from deepclean.simulate.site import Coupling, Hum, Line, Motion, Term, Witness

CONFIGURATIONS = Path(__file__).parents[1] / "config"
MAINS = "H1:PEM-CS_MAINSMON_EBAY_1_DQ"


def configured(name: str) -> dict[str, Any]:
    """Return the couplings of a shipped configuration."""
    content = YAML(typ="safe").load(CONFIGURATIONS / f"{name}.yaml")
    return dict(content["couplings"])


def problems(name: str) -> Iterator[tuple[str, tuple[tuple[float, float], tuple[str, ...]]]]:
    for coupling, content in configured(name).items():
        low, high = content["band"]
        yield coupling, ((low, high), tuple(content["witnesses"]))


@pytest.mark.parametrize(
    ("name", "strain", "rate", "witnesses", "couplings"),
    [
        ("demo", "H1:GDS-CALIB_STRAIN", 16384, 6, 1),
        ("H1", "H1:GDS-CALIB_STRAIN", 16384, 21, 1),
        ("L1", "L1:GDS-CALIB_STRAIN", 16384, 18, 1),
        ("K1", "K1:GDS-CALIB_STRAIN", 16384, 9, 1),
        ("V1", "V1:Hrec_hoft_raw_20000Hz", 20000, 173, 15),
    ],
)
def test_presets(name: str, strain: str, rate: int, witnesses: int, couplings: int) -> None:
    site = preset(name)
    assert (site.strain, site.rate) == (strain, rate)
    assert (len(site.witnesses), len(site.couplings)) == (witnesses, couplings)
    assert len(site.channels) == 2 + witnesses
    assert len(site.truth) == 1 + couplings
    assert all(channel.startswith(f"{strain[:2]}:") for channel in [*site.channels, *site.truth])


def test_virgo_lists_266_witnesses() -> None:
    assert sum(len(witnesses) for _, witnesses in PUBLISHED["V1"].values()) == 266


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "demo"])
def test_published_problems_are_those_configured(name: str) -> None:
    shipped = dict(problems(name))
    for coupling, (band, witnesses) in PUBLISHED[name].items():
        assert shipped[coupling] == (band, witnesses)


def test_the_demo_shows_what_its_configuration_cleans() -> None:
    (site, shipped) = preset("demo"), dict(problems("demo"))
    assert site == compose("H1", shipped)
    assert [coupling.name for coupling in site.couplings] == list(shipped)


@pytest.mark.parametrize("name", PRESETS)
def test_every_configured_problem_can_be_composed(name: str) -> None:
    site = compose("H1" if name == "demo" else name, dict(problems(name)))
    listed = {witness for _, (_, witnesses) in problems(name) for witness in witnesses}
    assert {witness.channel for witness in site.witnesses} == {
        f"{site.ifo}:{witness}" for witness in listed
    }
    assert all(witness.terms for witness in site.witnesses)


def test_rates_are_mixed() -> None:
    def rates(site: Site) -> set[int]:
        return {witness.rate for witness in site.witnesses}

    assert rates(preset("H1")) == rates(preset("demo")) == {16, 256, 512, 2048}
    assert rates(preset("V1")) == {16, 50, 500, 2000, 10000, 20000}


def test_a_rate_can_be_chosen() -> None:
    assert preset("demo", rates={MAINS: 4096}).channels[MAINS] == 4096
    with pytest.raises(ConfigError, match="EBAY_1_DQ at 64 Hz cannot hold mains_60"):
        preset("demo", rates={MAINS: 64})


def test_mains_give_lines_with_sidebands_and_other_bands_hums() -> None:
    site = preset("H1", couplings=["60Hz", "105Hz"])
    line, hum = site.carriers
    assert isinstance(line, Line)
    assert line.frequency == 60
    assert isinstance(hum, Hum)
    assert hum.frequency == 106
    assert [len(coupling.bilinear) > 0 for coupling in site.couplings] == [True, True]
    mains_only = preset("K1").couplings[0]
    assert mains_only.linear > 0
    assert mains_only.bilinear == ()


def test_sidebands_stay_inside_the_band() -> None:
    for name in PRESETS:
        site = preset(name)
        motions = {motion.name: motion for motion in site.motions}
        carriers = {carrier.name: carrier for carrier in site.carriers}
        for coupling in site.couplings:
            middle = carriers[coupling.carrier].frequency
            for motion, _ in coupling.bilinear:
                reach = motions[motion].frequency + 2 * motions[motion].width
                assert coupling.band[0] < middle - reach < middle + reach < coupling.band[1]


def test_witnesses_are_the_same_hardware_for_any_seed() -> None:
    assert replace(preset("H1", seed=1), seed=0) == preset("H1")


def test_dummies() -> None:
    site = with_dummies(preset("demo"), 2000)
    assert len(site.channels) == len(preset("demo").channels) + 2000
    assert {witness.rate for witness in site.witnesses[6:]} == {16, 256}


def test_truth_channels_are_named_after_couplings() -> None:
    assert list(preset("demo").truth) == ["H1:TRUTH-BACKGROUND", "H1:TRUTH-60HZ_NOISE"]
    assert "V1:TRUTH-142_162HZ_NOISE" in preset("V1").truth


@pytest.mark.parametrize(
    ("name", "couplings", "said"),
    [
        ("H2", None, "no simulated site H2; there are demo, H1"),
        ("H1", ["60HZ"], "simulated site H1: no coupling 60HZ; did you mean 60Hz"),
    ],
)
def test_unknown_names_are_refused(name: str, couplings: list[str] | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        preset(name, couplings=couplings)


def test_an_unknown_interferometer_is_refused() -> None:
    with pytest.raises(ConfigError, match="no interferometer X1"):
        compose("X1", {})


def site(**changes: Any) -> Site:
    fields: dict[str, Any] = {
        "ifo": "H1",
        "strain": "H1:STRAIN",
        "rate": 256,
        "state": "H1:STATE",
        "background": "aLIGO175MpcT1800545",
        "motions": (Motion("sway", 1.0, 0.2),),
        "carriers": (Line("mains", 60),),
        "couplings": (Coupling("60Hz", (55.0, 65.0), "mains", 10.0, (("sway", 3.0),)),),
        "witnesses": (Witness("H1:MAINS", 256, (Term("mains", 1.0),), 0.0),),
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
            {"witnesses": (Witness("H1:W", 16, (Term("tilt", 1.0),), 0.0),)},
            "H1:W uses tilt, which is not defined",
        ),
        ({"rate": 64}, "H1:STRAIN at 64 Hz cannot hold mains"),
        (
            {"witnesses": (Witness("H1:W", 2, (Term("sway", 1.0),), 0.0),)},
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
