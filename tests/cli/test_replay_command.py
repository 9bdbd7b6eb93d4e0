"""`deepclean replay`: what is there already, what is not there, and what it says it did."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepclean.config import load
from deepclean.errors import OutputError
from deepclean.io import gwf
from deepclean.system import lock
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import files
from tests.helpers.small_site import START

REPLAY = f"replay -c small.yaml --start {START + 2} --end {START + 6} --output out"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    site.make_site(place, seconds=8)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "site")
    return tmp_path / "site"


def test_frames_of_another_model_or_configuration_are_refused(deepclean: Run, place: Path) -> None:
    deepclean(place, f"{REPLAY} --end {START + 4}").good()
    before = files(place / "out")
    site.publish_model(load(place / "small.yaml"), version=2)
    deepclean(place, REPLAY).refused(
        f"-{START + 2}-1.gwf was made otherwise", "model 60Hz: version 1", "--overwrite"
    )
    assert files(place / "out") == before
    deepclean(place, f"{REPLAY} --start {START + 4}").good()  # only what is not there
    done = deepclean(place, f"{REPLAY} --overwrite --jobs 2").good()
    assert done.stdout.startswith("4 frames written")
    after = files(place / "out")
    assert len(list((place / "out").glob("*.gwf"))) == 4
    assert all(after[name] != content for name, content in before.items() if ".gwf" in name)
    again = deepclean(place, REPLAY).good()
    assert "0 frames written to out: 0 s cleaned; 4 s were there" in again.stdout
    deepclean(place, f"{REPLAY} --set engine.ramp=0.5").refused(
        "made otherwise (engine.ramp: 0.25 there, 0.5 now)", "--overwrite"
    )
    for kept in (place / "out").glob(".*.configuration.json"):
        kept.unlink()
    deepclean(place, f"{REPLAY} --set engine.ramp=0.5").refused("configuration: ", "--overwrite")


def test_frames_of_another_length_are_not_left_beside_new_ones(deepclean: Run, place: Path) -> None:
    deepclean(place, f"{REPLAY} --duration 4").good()
    deepclean(place, f"{REPLAY} --overwrite").refused("would stay beside", "--duration")
    deepclean(place, f"{REPLAY} --overwrite --duration 4").good()


def test_what_is_not_cleaned_is_said_with_its_reason(deepclean: Run, place: Path) -> None:
    site.witness_path(load(place / "small.yaml"), START + 4).unlink()
    done = deepclean(place, REPLAY).good()
    assert "4 frames written to out: " in done.stdout
    assert " s not (" in done.stdout
    assert "missing" in done.stdout
    assert "cleaned throughout" not in done.stdout
    joined = deepclean(place, f"{REPLAY} --output joined --duration 4").good()
    assert "frames written to joined: " in joined.stdout
    said = [each.stdout.partition(": ")[2] for each in (done, joined)]
    assert said[0] == said[1]  # seconds count by themselves, whatever file they are in
    assert not said[0].startswith("0 s cleaned")


def test_a_span_without_strain_is_not_a_success(deepclean: Run, place: Path) -> None:
    done = deepclean(
        place, f"replay -c small.yaml --start {START + 1000} --end {START + 1060} --output out"
    )
    done.refused("no strain in", f"[{START}, {START + 8})", status=3)


@pytest.mark.parametrize("end", [START * 1000, -5])
def test_an_implausible_time_is_refused(deepclean: Run, place: Path, end: int) -> None:
    done = deepclean(place, f"replay -c small.yaml --start={min(end, 0)} --end {end} --output out")
    done.refused("no plausible GPS time")
    assert not (place / "out").exists()


def test_the_output_is_locked_meanwhile(
    deepclean: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = place / "out"
    path = lock.path_in(output, load(place / "small.yaml").output.description)
    real, seen = gwf.publish, set[str | None]()

    def publish(*args: object, **options: object) -> None:
        seen.add(lock.holder(path))
        with pytest.raises(OutputError, match="busy"), lock.locked(path, "busy"):
            pass
        real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(gwf, "publish", publish)
    deepclean(place, REPLAY).good()
    assert None not in seen
    assert lock.holder(path) is None


def test_one_of_several_streams_of_strain_is_named(deepclean: Run, place: Path) -> None:
    """What a daemon cleans is the configured one; what else lies there is another calibration."""
    config = load(place / "small.yaml")
    directory = config.input.strain_frames.directory
    configured = config.input.strain.description
    both = f"{REPLAY} --strain {directory} --witnesses {config.input.witnesses[0].directory}"
    deepclean(place, both).good()
    alone = files(place / "out")
    for path in sorted(directory.glob("*.gwf")):
        other = path.name.replace(f"-{configured}-", "-H1_OTHER-")
        (directory / other).write_bytes(site.strain_frame(int(path.name.split("-")[2])))
    shutil.rmtree(place / "out")
    deepclean(place, both).good()
    assert files(place / "out") == alone
    unknown = f"{both} --set input.strain.description=H1_NONE --overwrite"
    deepclean(place, unknown).refused("several kinds of files hold", "H1_OTHER", "description=")


def test_strain_alone_says_where_the_witnesses_are_looked_for(deepclean: Run, place: Path) -> None:
    directory = load(place / "small.yaml").input.strain.directory
    done = deepclean(place, f"{REPLAY} --strain {directory}")
    done.refused("no such channel", "--strain was given without --witnesses")


def test_every_coupling_without_a_model_is_named(deepclean: Run, place: Path) -> None:
    text = (place / "small.yaml").read_text()
    config = load(place / "small.yaml")
    witness = config.couplings["60Hz"].witnesses[0]
    more = "".join(
        f"  {name}: {{band: [{low}, {low + 4}], witnesses: [{witness}]}}\n"
        for name, low in (("100Hz", 98), ("150Hz", 148))
    )
    assert "couplings:\n" in text
    (place / "small.yaml").write_text(text.replace("couplings:\n", f"couplings:\n{more}"))
    done = deepclean(place, REPLAY)
    done.refused("no production version of 100Hz, 150Hz", "enabled=false", "-c small.yaml 100Hz")
    assert not (place / "out").exists()


def test_a_file_of_many_minutes_holds_no_witnesses(deepclean: Run, place: Path) -> None:
    done = deepclean(place, f"{REPLAY} --duration 4096").good()
    assert done.stdout.startswith("1 frames written")


def test_the_version_is_printed(deepclean: Run, place: Path) -> None:
    assert deepclean(place, "--version").good().stdout.startswith("deepclean ")
    by_option = deepclean(place, "config -c small.yaml --no-budget").good().stdout
    assert by_option == deepclean(place, "config small.yaml --no-budget").good().stdout


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("replay --output out", 0),
        ("validate --out report", 2),
        ("train 60Hz --architecture wiener", 2),
        ("witnesses --coupling 60Hz --witnesses witnesses", 2),
    ],
)
def test_every_command_says_that_the_state_vector_is_not_there(
    deepclean: Run, place: Path, command: str, status: int
) -> None:
    span = f"--start {START} --end {START + 8}"
    if command.startswith("validate"):
        site.write_site(load(place / "small.yaml"), START, 64)
        span = f"--start {START} --end {START + 64}"
    name, _, rest = command.partition(" ")
    done = deepclean(
        place, f"{name} -c small.yaml {span} {rest} --set strain.state_vector=H1:NO_STATE"
    )
    assert done.returncode == status, done.stderr
    assert "no channel H1:NO_STATE (strain.state_vector)" in done.stderr
    assert "strain.state_vector=null" in done.stderr
