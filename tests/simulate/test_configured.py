"""The site that a configuration describes."""

from pathlib import Path

import pytest

from deepclean.config import Config, load
from deepclean.core.time import Span
from deepclean.errors import ConfigError
from deepclean.simulate import Simulator, compose, site_of
from tests.helpers.sites import configured_site, demo_site, shipped

FILE = """
interferometer: H1
strain: {channel: MY_STRAIN, rate: 4096, state_vector: MY_STATE}
input: {strain: {directory: strain}}
output: {directory: cleaned}
couplings:
  60Hz: {band: [55, 65], witnesses: [PEM-MAINS, ASC-ONE, ASC-TWO]}
  105Hz: {bands: [[104, 109]], witnesses: [PEM-TABLE, ASC-TWO]}
"""


def config(place: Path, *overrides: str) -> Config:
    path = place / "site.yaml"
    path.write_text(FILE)
    return load(path, overrides, environ={})


@pytest.mark.parametrize(
    ("name", "strain", "rate", "witnesses", "couplings"),
    [
        ("demo", "H1:GDS-CALIB_STRAIN", 16384, 6, 1),
        ("H1", "H1:GDS-CALIB_STRAIN", 16384, 75, 7),
        ("L1", "L1:GDS-CALIB_STRAIN", 16384, 48, 2),
        ("K1", "K1:GDS-CALIB_STRAIN", 16384, 9, 1),
        ("V1", "V1:Hrec_hoft_raw_20000Hz", 20000, 173, 15),
    ],
)
def test_shipped_sites(name: str, strain: str, rate: int, witnesses: int, couplings: int) -> None:
    site = configured_site(name)
    assert (site.strain, site.rate) == (strain, rate)
    assert (len(site.witnesses), len(site.couplings)) == (witnesses, couplings)
    assert len(site.channels) == 2 + witnesses
    assert len(site.truth) == 1 + couplings
    assert all(channel.startswith(f"{strain[:2]}:") for channel in [*site.channels, *site.truth])


def test_it_shows_what_is_enabled_and_no_more() -> None:
    config = shipped("H1")
    site = site_of(config)
    assert [coupling.name for coupling in site.couplings] == list(config.enabled_couplings)
    assert [coupling.band for coupling in site.couplings] == [
        coupling.bands[0] for coupling in config.enabled_couplings.values()
    ]
    assert {witness.channel for witness in site.witnesses} == set(config.witness_channels)


def test_names_and_rate_are_the_configured_ones(tmp_path: Path) -> None:
    site = site_of(config(tmp_path))
    assert (site.strain, site.rate, site.state) == ("H1:MY_STRAIN", 4096, "H1:MY_STATE")
    made = Simulator(site).read([site.strain, site.state], Span.of_seconds(1400000000, 1))
    assert {name: series.samples.size for name, series in made.items()} == {
        "H1:MY_STRAIN": 4096,
        "H1:MY_STATE": 16,
    }


def test_without_a_configured_state_vector_the_interferometer_has_its_own(tmp_path: Path) -> None:
    site = site_of(config(tmp_path, "strain.state_vector=null"))
    assert site.state == "H1:GDS-CALIB_STATE_VECTOR"
    assert configured_site("V1").state == "V1:DQ_ANALYSIS_STATE_VECTOR"


def test_motions_and_seed_are_passed_on(tmp_path: Path) -> None:
    settings = config(tmp_path)
    site = site_of(settings, motions=2, seed=5)
    assert (len(site.motions), site.seed) == (2, 5)
    assert len(site_of(settings).motions) == 1
    assert len(demo_site().motions) == 3


def test_it_is_what_compose_makes_of_the_problems() -> None:
    demo = shipped("demo").couplings["60Hz"]
    assert demo_site() == compose("H1", {"60Hz": (demo.bands[0], demo.witnesses)}, motions=3)


def test_several_bands_are_refused(tmp_path: Path) -> None:
    settings = config(tmp_path, "couplings.105Hz.bands=[[104, 106], [107, 109]]")
    with pytest.raises(ConfigError, match=r"couplings\.105Hz\.bands: .* several bands") as caught:
        site_of(settings)
    assert len(caught.value.faults) == 1


def test_an_interferometer_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no interferometer G1 can be simulated; .* H1"):
        site_of(config(tmp_path, "interferometer=G1"))
