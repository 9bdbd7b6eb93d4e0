"""Parity: a live run's frames are its replay, or say why not; what they do not say is found."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.config.types import FrozenMap
from deepclean.core.block import Gap, Samples, Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.factory import make_engine
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.models.loading import load_models
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.validate.compare import DifferentSecond
from deepclean.validate.parity import UNEXPLAINED, Parity, explain, parity, write
from tests.helpers import small_site
from tests.helpers import training_site as site
from tests.helpers.commands import Run as Command
from tests.helpers.metrics_run import Run, whole
from tests.helpers.site_runs import daemon, is_written, open_source, until
from tests.helpers.training_site import LINE, START, STRAIN

LOW, HIGH = 40, 100
"""Seconds of the toy that are run live; there is more history than the gates remember."""

OUT_DQ = "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION_OUT_DQ"
PRODUCTION = OUT_DQ.removesuffix("_OUT_DQ")
STATE = "H1:DEEPCLEAN-STATE_VECTOR"
GAIN = "H1:DEEPCLEAN-30HZ_GAIN"
CHANNELS = {
    "out": OUT_DQ,
    "production": PRODUCTION,
    "state": STATE,
    "gain": GAIN,
    "subtracted": "H1:GDS-CALIB_STRAIN_DEEPCLEAN_SUBTRACTED",
    "noise": "H1:DEEPCLEAN-30HZ_NOISE",
    "factor": "H1:DEEPCLEAN-30HZ_NOISE_FACTOR",
}

QUIET = 80
"""A second that no gate remembers the start of the run in."""

Change = Callable[[InputFrame], InputFrame]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The toy's site; its frames have all channels, the canary's product too.

    A replay cannot know that one.
    """
    made = site.make_site(tmp_path_factory.mktemp("site"))
    products = ("OUT_DQ", "PRODUCTION", "CANARY")
    asked = {"products": products, "estimates": ("all",), "subtracted": True}
    made = made.model_copy(update={"output": made.output.model_copy(update=asked)})
    return with_adaptation(made, "off")


def with_adaptation(config: Config, mode: str) -> Config:
    """Return the configuration with another `adapt` of its coupling."""
    (name,) = config.couplings
    coupling = config.couplings[name].model_copy(update={"adapt": mode})
    return config.model_copy(update={"couplings": FrozenMap({name: coupling})})


def live(
    config: Config,
    into: Path,
    change: Change = lambda frame: frame,
    low: int = LOW,
    high: int = HIGH,
    refill: bool = True,
) -> None:
    """Clean seconds as a live run does: frame by frame, at the end without look-ahead.

    Args:
        change: what becomes of a frame on its way in.
        refill: whether the history before is there.
    """
    loaded = load_models(config)
    engine = make_engine(config, loaded)
    cleaning = FrameCleaner(config, engine, sink_of(config, loaded, into))
    span = Span((START + low) * NS, (START + high) * NS)
    begin = span.start - engine.history - NS if refill else span.start
    for frame in open_source(config).frames(span, Span(begin, span.end)):
        cleaning.push(change(frame))
    cleaning.release()


@pytest.fixture(scope="module")
def archive(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the frames of a live run in which nothing went wrong."""
    into = tmp_path_factory.mktemp("archive")
    live(config, into)
    return into


def compared(config: Config, archive: Path, low: int = LOW, high: int = HIGH - 2) -> Parity:
    span = Span((START + low) * NS, (START + high) * NS)
    return parity(site.run_of(config), span, archive)


def reasons(found: Parity) -> dict[int, str]:
    """Return the reasons of the seconds that differ, by second of the toy."""
    return {second.start - START: reason for second, reason in found.seconds}


def without(witness: str, *seconds: int) -> Change:
    """Return a change by which a witness is not there in some seconds."""

    def change(frame: InputFrame) -> InputFrame:
        if frame.span.start // NS - START not in seconds:
            return frame
        (block,) = frame.blocks
        gap = {witness: Gap(block.span, "missing")}
        return replace(frame, blocks=[replace(block, witnesses={**block.witnesses, **gap})])

    return change


Tamper = Callable[[Samples], Samples]


def tampered(archive: Path, into: Path, second: int, **changes: Tamper) -> Path:
    """Copy an archive, with channels of one second's frame changed."""
    shutil.copytree(archive, into)
    path = into / f"H-H1_DEEPCLEAN-{START + second}-1.gwf"
    span = Span.of_seconds(START + second, 1)
    held: Mapping[str, Series | Gap] = gwf.read(path, list(gwf.channels(path)))
    channels = {name: each for name, each in held.items() if isinstance(each, Series)}
    for short, function in changes.items():
        name = CHANNELS[short]
        samples = function(channels[name].samples.copy())
        channels[name] = Series(span, channels[name].rate, samples)
    path.unlink()
    gwf.publish(path, gwf.serialise(span, {n: OutputChannel(s) for n, s in channels.items()}))
    return into


def test_undisturbed_run_is_its_replay(config: Config, archive: Path) -> None:
    found = compared(config, archive)
    assert found.passed
    assert found.compared == HIGH - 2 - LOW
    assert list(found.seconds) == []
    assert list(found.lines()) == [
        f"GPS {START + LOW} to {START + HIGH - 2}: 58 s compared, 58 equal bit for bit, 0 differ",
        "no unexplained difference",
    ]


def test_end_of_a_run_has_no_lookahead(config: Config, archive: Path) -> None:
    found = compared(config, archive, high=HIGH)
    assert found.passed
    assert set(reasons(found).values()) == {"no_lookahead"}
    assert max(reasons(found)) == HIGH - 1


def test_gains_that_follow_a_drift_remember_a_late_witness(config: Config, tmp_path: Path) -> None:
    following = with_adaptation(config, "gain")
    live(following, tmp_path, without(LINE, 70))
    found = compared(following, tmp_path)
    assert found.passed
    said = reasons(found)
    assert said[70] == "late_frame"
    assert {second for second, reason in said.items() if reason == "adaptation"}
    assert min(said) >= 69
    changed = tampered(tmp_path, tmp_path / "a", 60, out=lambda samples: samples * 1.01)
    assert reasons(compared(following, changed))[60] == "unexplained"


def test_late_witness_is_explained(config: Config, tmp_path: Path) -> None:
    live(config, tmp_path, without(LINE, 70))
    found = compared(config, tmp_path)
    assert found.passed
    why = reasons(found)
    # The filters reach into the neighbours; the gate's window has a hole for as long as it is. That
    # the run began within the gate's memory is no reason: what is seen comes first.
    assert why == dict.fromkeys(range(69, 73), "late_frame") | dict.fromkeys(
        range(73, 76), "gate_memory"
    )
    (first,) = [second for second, _ in found.seconds if second.start == START + 70]
    assert {OUT_DQ, PRODUCTION} <= {each.channel for each in first.differences}


def test_frame_that_passed_through_is_explained(config: Config, tmp_path: Path) -> None:
    def late(frame: InputFrame) -> InputFrame:
        passes = frame.span.start // NS - START in (70, 71)
        return replace(frame, bypass=True) if passes else frame

    live(config, tmp_path, late)
    found = compared(config, tmp_path)
    assert found.passed
    assert reasons(found)[70] == reasons(found)[71] == "late_frame"


def test_run_without_its_history_is_explained(config: Config, tmp_path: Path) -> None:
    live(config, tmp_path, low=50, refill=False)
    found = compared(config, tmp_path)
    why = reasons(found)
    assert found.passed
    assert {second: why[second] for second in range(LOW, 50)} == dict.fromkeys(
        range(LOW, 50), "missing_in_archive"
    )
    assert {s: why[s] for s in why if s >= 50} == dict.fromkeys(range(50, 56), "restart")


def test_other_model_is_explained(config: Config, archive: Path, tmp_path: Path) -> None:
    from deepclean.config import load
    from deepclean.models import files as models
    from deepclean.models.manifest import Description, Manifest

    shipped = config.models.directory / "H1" / "30Hz" / "1"
    model = models.load(shipped)
    manifest = Manifest.parse((shipped / "manifest.json").read_bytes(), shipped)
    described = manifest.model_dump(include=set(Description.model_fields)) | {"version": 2}
    scalers = replace(model.scalers, strain_std=0.5 * model.scalers.strain_std)
    path = models.write_model(tmp_path, model.network, scalers, Description(**described))
    file = config.models.directory.parent / "toy.yaml"
    changes = [f"couplings.30Hz.model={path}", "couplings.30Hz.adapt=off", *site.GATES]
    other = load(file, changes, {})
    found = compared(other, archive)
    assert found.passed
    assert set(reasons(found).values()) == {"model_switch"}
    assert len(found.seconds) == HIGH - 2 - LOW


def test_the_crossfade_after_a_switch_is_the_switch_s() -> None:
    """Two seconds after the last with the former version, samples differ at equal versions."""
    switched = [DifferentSecond(start, switched=True, accounted=True) for start in (5, 6)]
    found = explain(
        [
            *switched,
            DifferentSecond(7),
            DifferentSecond(8),
            DifferentSecond(9),
            DifferentSecond(12),
        ],
        [],
        80,
        1,
    )
    reasons_found = [reason for _, reason in found]
    assert reasons_found == ["model_switch"] * 4 + ["unexplained"] * 2


def test_a_gain_that_follows_a_drift_acts_beside_its_second() -> None:
    late = DifferentSecond(10, late=True, accounted=True)
    other = DifferentSecond(40, adapted=True, accounted=True)
    beside = [DifferentSecond(s, accounted_beside=True) for s in (38, 39, 41, 42, 43)]
    samples_only = DifferentSecond(41)
    for found, causes in (
        ([late, other, *beside], {39, 40, 41, 42}),
        ([late, other, samples_only], {40}),
        ([other, *beside], set()),
        ([late, *beside], set()),
    ):
        why = {second.start: reason for second, reason in explain(found, [], 80, 1)}
        assert {start for start, reason in why.items() if reason == "adaptation"} == causes
        assert all(why[s] == UNEXPLAINED for s in why.keys() - causes - {10})


@pytest.mark.parametrize("product", ["out", "production", "subtracted", "noise", "factor"])
def test_changed_bit_is_found(config: Config, archive: Path, tmp_path: Path, product: str) -> None:
    def flip(samples: Samples) -> Samples:
        samples.view(f"u{samples.itemsize}")[17] ^= 1
        return samples

    found = compared(config, tampered(archive, tmp_path / "a", QUIET, **{product: flip}))
    assert not found.passed
    assert reasons(found) == {QUIET: UNEXPLAINED}
    ((second, _),) = found.seconds
    (difference,) = second.differences
    assert difference.channel == CHANNELS[product]
    rate = 256 if product in {"noise", "factor"} else 512
    assert difference.instant == (START + QUIET) * NS + 17 * NS // rate
    assert difference.samples == 1
    assert difference.archived != difference.replayed
    assert list(found.lines())[-1] == "1 unexplained difference"


def test_gain_without_cause_is_unexplained(config: Config, archive: Path, tmp_path: Path) -> None:
    # The frame's account and its samples agree, but nothing made the gate close.
    second = Span.of_seconds(START + QUIET, 1)
    raw = open_source(config).strain.read([STRAIN], second)[STRAIN]
    assert isinstance(raw, Series)
    strain = raw.samples

    def passed(samples: Samples) -> Samples:
        samples[128:256] = strain[128:256]
        return samples

    def closed(gain: Samples) -> Samples:
        gain[4:8] = 0
        return gain

    found = compared(config, tampered(archive, tmp_path / "a", QUIET, out=passed, gain=closed))
    assert reasons(found) == {QUIET: UNEXPLAINED}
    ((account, _),) = found.seconds
    assert account.accounted
    # Without that account not even so much is said for it.
    found = compared(config, tampered(archive, tmp_path / "b", QUIET, out=passed))
    ((account, _),) = found.seconds
    assert not account.accounted


def test_damage_beside_an_explained_difference_is_found(config: Config, tmp_path: Path) -> None:
    live(config, tmp_path / "live", without(LINE, 70))

    def louder(samples: Samples) -> Samples:
        return samples * 1.5

    for channel, second in (("out", 70), ("subtracted", 69), ("noise", 71), ("factor", 71)):
        there = tampered(tmp_path / "live", tmp_path / channel, second, **{channel: louder})
        found = compared(config, there, low=66, high=76)
        assert reasons(found)[second] == UNEXPLAINED, channel
        assert not found.passed
    assert compared(config, tmp_path / "live", low=66, high=76).passed


def test_bit_without_cause_is_unexplained(config: Config, archive: Path, tmp_path: Path) -> None:
    found = compared(config, tampered(archive, tmp_path / "a", QUIET, state=lambda bits: bits ^ 16))
    assert reasons(found) == {QUIET: UNEXPLAINED}


def test_missing_frame_is_listed(config: Config, archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "a")
    (tmp_path / "a" / f"H-H1_DEEPCLEAN-{START + QUIET}-1.gwf").unlink()
    found = compared(config, tmp_path / "a")
    assert reasons(found) == {QUIET: "missing_in_archive"}
    assert found.compared == HIGH - 2 - LOW - 1
    assert f"  GPS {START + QUIET}: not in the archive" in list(found.lines())


def test_damaged_frame_is_not_explained(config: Config, archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "a")
    (tmp_path / "a" / f"H-H1_DEEPCLEAN-{START + QUIET}-1.gwf").write_bytes(b"no frame")
    assert reasons(compared(config, tmp_path / "a")) == {QUIET: UNEXPLAINED}


def test_nothing_to_compare_is_an_input_error(config: Config, archive: Path) -> None:
    with pytest.raises(InputError, match="no frame of"):
        compared(config, archive, low=0, high=20)


def test_parity_as_json(config: Config, archive: Path, tmp_path: Path) -> None:
    path = write(compared(config, archive, high=HIGH), tmp_path / "new")
    assert '"passed": true' in path.read_text()
    assert '"reason": "no_lookahead"' in path.read_text()


def flipped(config: Config, second: int) -> None:
    """Write a second with one bit wrong, in the samples of one witness alone."""
    whole(config, second)
    path = small_site.witness_path(config, second)
    content = bytearray(path.read_bytes())
    name, rate = "H1:MIDDLE", small_site.RATES["H1:MIDDLE"]
    held = gwf.read(path, [name])[name]
    assert isinstance(held, Series)
    place = content.index(held.samples.tobytes()[: rate * 2])
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        gwf.read(path, list(small_site.RATES))
    assert caught.value.channels == (name,)


def test_replay_refuses_the_same_damaged_files(deepclean: Command, tmp_path: Path) -> None:
    config = small_site.make_site(tmp_path)
    run = Run(config)
    run.over(16, {10: flipped})
    span = f"--start {small_site.START} --end {small_site.START + 16}"
    done = deepclean(tmp_path, f"validate -c small.yaml {span} --against cleaned")
    assert done.stdout.splitlines()[0].endswith("16 s compared, 16 equal bit for bit, 0 differ")
    assert done.returncode == 0


@pytest.mark.slow
def test_daemon_whose_witness_was_late(tmp_path: Path) -> None:
    config = small_site.make_site(tmp_path)
    small_site.write_site(config, small_site.START, 8)
    late = small_site.START + 10
    with daemon(config, tmp_path / "log", deadline=2.0) as process:
        for second in range(small_site.START + 8, small_site.START + 14):
            small_site.write_site(config, second, 1, no_witnesses=[late] if second == late else [])
            until(lambda: is_written(config, second - 1), process)  # noqa: B023  (called at once)
        small_site.write_site(config, late, 1, no_strain=[late])
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    small_site.write_site(config, small_site.START + 14, 2)  # so that the replay can see ahead
    span = Span(small_site.START * NS, (small_site.START + 14) * NS)
    run = site.run_of(config)
    found = parity(run, span, config.output.directory)
    assert found.passed, list(found.lines())
    why = reasons(found)
    assert why[10] == "late_frame"
    assert why[13] == "no_lookahead"
    # Two seconds on nothing is left of it but the rounding of transforms that held some of it.
    after = [second for second, _ in found.seconds if second.start == START + 12]
    assert all(each.largest < 1e-36 for second in after for each in second.differences)
