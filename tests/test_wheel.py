"""What is built installs and runs where there is no checkout."""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path

import pytest

import deepclean
from deepclean.config import load
from tests.helpers.built_packages import ROOT, copy_sources, make_environment, type_line

RELEASES = ROOT / "docs" / "releases.md"
VERSION = deepclean.__version__


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel, built by the commands of docs/releases.md."""
    place = copy_sources(tmp_path_factory.mktemp("sources"))
    section = RELEASES.read_text().split("**Build.**")[1].split("**")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    assert len(lines) == 2
    for line in lines:
        type_line(place, line)
    return place / "dist"


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("machine") / "opt", wheel_in(built))


def wheel_in(place: Path) -> Path:
    (wheel,) = place.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_is_the_sdists(built: Path, tmp_path: Path) -> None:
    """The sdist holds all that the wheel is made of."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as held:
        held.extractall(tmp_path, filter="data")
    (sources,) = tmp_path.iterdir()
    assert sources.name == f"deepclean_production-{VERSION}"
    type_line(sources, "pip wheel --quiet --no-deps --no-build-isolation -w dist .")
    with (
        zipfile.ZipFile(wheel_in(built)) as one,
        zipfile.ZipFile(wheel_in(sources / "dist")) as other,
    ):
        assert {each.filename: each.CRC for each in one.infolist()} == {
            each.filename: each.CRC for each in other.infolist()
        }


@pytest.mark.slow
def test_what_is_shipped_is_the_checkouts(built: Path) -> None:
    folders = ("config/*.yaml", "models/*/*/*", "models/*/*/*/*", "systemd/*", "monitoring/*")
    shipped = [path for pattern in folders for path in ROOT.glob(pattern) if path.is_file()]
    shipped += [ROOT / "scripts/install-service"]
    shipped += [ROOT / f"docs/{guide}.md" for guide in ("service", "retrain", "summary")]
    shipped = [path for path in shipped if path.name not in ("changes.jsonl", ".lock")]
    with zipfile.ZipFile(wheel_in(built)) as held:
        for path in shipped:
            name = f"deepclean/shipped/{path.relative_to(ROOT)}"
            assert held.read(name) == path.read_bytes()
        assert (
            f"Version: {VERSION}\n"
            in held.read(f"deepclean_production-{VERSION}.dist-info/METADATA").decode()
        )


@pytest.mark.slow
def test_the_demonstration_runs_without_a_checkout(programs: Path, tmp_path: Path) -> None:
    assert type_line(tmp_path, f"{programs}/deepclean --version") == f"deepclean {VERSION}\n"
    where = "import deepclean; print(deepclean.__file__)"
    found = type_line(tmp_path, f"{programs}/python -c '{where}'")
    assert Path(found.strip()).is_relative_to(programs.parent)
    assert "PATH..." in type_line(tmp_path, f"{programs}/deepclean init --help")
    said = type_line(
        tmp_path,
        f"{programs}/deepclean demo --seconds 24 --speed 2",
        DEEPCLEAN__METRICS__ENABLED="false",
        COLUMNS="100",
    )
    assert "ended with status 0" in said
    table = dict(re.findall(r"│ (.*?) +│ ([\d.]+)", said))
    assert (table["frames in"], table["frames out"]) == ("24", "24")
    assert float(table["raw strain / true floor"]) > 2
    assert float(table["cleaned strain / true floor (1 is perfect)"]) < 1.2
    assert (tmp_path / "demo-output" / "spectra.png").stat().st_size > 20_000


@pytest.mark.slow
def test_shipped_configurations_and_the_service_come_with_it(
    programs: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("extends: shipped:H1.yaml\nmodels: {directory: mine}\n")
    printed = type_line(tmp_path, f"{programs}/deepclean config mine.yaml")
    assert "ASC-CHARD_P_IN1_DQ" in printed
    assert str(tmp_path / "mine") in printed
    machine = tmp_path / "machine"
    for name in ("deepclean", "python"):  # where the tests' own Python lies, no service may see it
        (machine / "opt/mine/bin").mkdir(parents=True, exist_ok=True)
        (machine / "opt/mine/bin" / name).touch(mode=0o755)
    said = type_line(
        tmp_path,
        f"{programs}/deepclean install-service install --prefix {machine} --environment /opt/mine",
    )
    assert "write /etc/systemd/system/deepclean@.service" in said
    made = machine / "etc/systemd/system/deepclean@.service"
    assert made.read_bytes() == (ROOT / "systemd/deepclean@.service").read_bytes()
    assert load(machine / "etc/deepclean/H1.yaml", environ={}).interferometer == "H1"
    assert (machine / "opt/deepclean/current").readlink() == Path("/opt/mine")
