"""Channels that go wrong go wrong as asked, in the frames only, and all others stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepclean.core.block import Gap, Samples, Series
from deepclean.core.time import NS, Span
from deepclean.io import gwf, hdf5
from deepclean.simulate import Fault, Layout, Simulator, Site, stream
from deepclean.simulate import write_history as history
from deepclean.simulate.damage import spoiled
from deepclean.simulate.faults import KINDS
from tests.helpers import rehearsal_run
from tests.helpers.builders import same_series
from tests.helpers.rehearsal_run import GPS, SPAN, Streamed, fault, strain_file, witness_file
from tests.helpers.small_site import STATE, STRAIN, FakeClock

FAST, SLOW = "H1:FAST", "H1:SLOW"

site = rehearsal_run.site
streamed = rehearsal_run.streamed


Expected = Callable[[Samples], Samples]


def all_of(value: float) -> Expected:
    return lambda samples: np.full_like(samples, value)


def at_a_quarter(samples: Samples) -> Samples:
    peak = np.abs(samples).max()
    return np.clip(samples, -peak / 4, peak / 4)


SAMPLES: list[tuple[str, Expected]] = [
    ("nan", all_of(np.nan)),
    ("inf", all_of(np.inf)),
    ("zero", all_of(0)),
    ("clipped", at_a_quarter),
    ("glitch", lambda samples: 1000 * samples),
]


def channels_of(path: Path) -> dict[str, Series | Gap]:
    return gwf.read(path, list(gwf.channels(path)))


def test_what_is_spoiled_is_a_copy() -> None:
    second = Span.of_seconds(GPS, 1)
    sound = Series(second, 16, np.ones(16))
    hurt = spoiled(sound, Fault("zero", second, "strain"), lambda: None)
    assert (sound.samples == 1).all()
    assert (hurt.samples == 0).all()


@pytest.mark.parametrize(("kind", "expected"), SAMPLES)
@pytest.mark.parametrize(
    ("target", "hit"),
    [
        ("FAST", {FAST}),
        (FAST, {FAST}),
        ("strain", {STRAIN}),
        ("witnesses", {FAST, SLOW, "H1:MIDDLE"}),
    ],
)
def test_samples_go_wrong_inside_the_span_only(
    streamed: Streamed, kind: str, expected: Expected, target: str, hit: set[str]
) -> None:
    name = strain_file(2) if target == "strain" else witness_file(2)
    streamed.hit(f"{kind}:{target}@+2.25+0.5", name)
    sound = Simulator(streamed.site).read(streamed.site.channels, Span.of_seconds(GPS + 2, 1))
    for channel, series in channels_of(streamed.path(name)).items():
        samples = sound[channel].samples.copy()
        if channel in hit:
            samples[512:1536] = expected(samples[512:1536])
        assert same_series(series, Series(series.span, sound[channel].rate, samples)), channel


def test_frozen_channel_holds_its_value(streamed: Streamed) -> None:
    streamed.hit("frozen:SLOW@+1.5+2", *(witness_file(second) for second in (1, 2, 3)))
    sound = Simulator(streamed.site).read([SLOW], SPAN)[SLOW].samples
    read = [channels_of(streamed.path(witness_file(second)))[SLOW] for second in range(6)]
    samples = np.concatenate([one.samples for one in read if isinstance(one, Series)])
    assert (samples[3072:7168] == sound[3072]).all()
    sound[3072:7168] = sound[3072]
    assert samples.tobytes() == sound.tobytes()


def test_files_of_several_seconds(site: Site, tmp_path: Path) -> None:
    sound, hurt = (
        Layout(strain=place, witnesses=place, strain_length=2, witness_length=2)
        for place in (tmp_path / "sound", tmp_path / "hurt")
    )
    list(history(Simulator(site), sound, SPAN))
    made = [fault("nan:FAST@+1+2"), fault("rate:SLOW@+5+1")]
    for path in history(Simulator(site), hurt, SPAN, faults=made):
        for channel, series in channels_of(path).items():
            expected = gwf.read(sound.strain / path.name, [channel])[channel]
            assert isinstance(series, Series)
            assert isinstance(expected, Series)
            if channel == SLOW and path.name == f"H-H1_lldetchar-{GPS + 4}-2.gwf":
                assert series.rate == 2 * expected.rate
                assert (series.samples[::2] == expected.samples).all()
            elif channel == FAST:
                wrong = np.isnan(series.samples)
                seconds = (series.span.start // NS - GPS) + np.arange(4096) // 2048
                assert (wrong == ((seconds == 1) | (seconds == 2))).all()
                assert (series.samples == expected.samples)[~wrong].all()
            else:
                assert same_series(series, expected)


@pytest.mark.parametrize("target", ["FAST", "witnesses", "strain", "state"])
@pytest.mark.parametrize("kind", ["absent", "rate", "invalid"])
def test_channels_go_wrong_throughout_their_file(
    streamed: Streamed, kind: str, target: str
) -> None:
    name = strain_file(2) if target in {"strain", "state"} else witness_file(2)
    streamed.hit(f"{kind}:{target}@+2", name)
    second = Span.of_seconds(GPS + 2, 1)
    held = [STRAIN, STATE] if name == strain_file(2) else [FAST, SLOW, "H1:MIDDLE"]
    targets = {"FAST": [FAST], "strain": [STRAIN], "state": [STATE], "witnesses": held}
    hit = targets[target]
    read = channels_of(streamed.path(name))
    sound = Simulator(streamed.site).read(held, second)
    for channel in held:
        if channel not in hit:
            assert same_series(read[channel], sound[channel])
        elif kind == "absent":
            assert channel not in read
        elif kind == "invalid":
            assert read[channel] == Gap(second, "invalid")
        else:
            twice = np.repeat(sound[channel].samples, 2)
            assert same_series(read[channel], Series(second, 2 * sound[channel].rate, twice))
    # A frame must hold something.
    empty = kind == "absent" and hit == held
    assert set(read) - set(held) == ({"H1:SIM-NOTHING"} if empty else set())


@pytest.mark.parametrize(("kind", "bits"), [("not_ready", 0b001), ("unlocked", 0)])
def test_state_vector_is_cleared(streamed: Streamed, kind: str, bits: int) -> None:
    streamed.hit(f"{kind}@+2.5+1", strain_file(2), strain_file(3))
    for second, expected in ((2, [7] * 8 + [bits] * 8), (3, [bits] * 8 + [7] * 8)):
        read = channels_of(streamed.path(strain_file(second)))
        sound = Simulator(streamed.site).read([STRAIN], Span.of_seconds(GPS + second, 1))
        assert same_series(read[STRAIN], sound[STRAIN])
        state = read[STATE]
        assert isinstance(state, Series)
        assert state.samples.tolist() == expected
        assert state.samples.dtype == np.uint32


def test_the_truth_is_never_touched(site: Site, tmp_path: Path) -> None:
    made = [Fault(kind, SPAN, KINDS[kind].target) for kind in KINDS if kind != "outage"]
    for place, faults in (("sound", []), ("hurt", made)):
        layout = Layout(strain=tmp_path / "frames", truth=tmp_path / place, truth_length=3)
        list(stream(Simulator(site), layout, SPAN, FakeClock(), faults=faults))
    names = [path.name for path in (tmp_path / "sound").iterdir()]
    assert len(names) == 2
    for name in names:
        sound, hurt = (
            hdf5.read(tmp_path / place / name, list(site.truth)) for place in ("sound", "hurt")
        )
        for channel in site.truth:
            assert same_series(sound[channel], hurt[channel])
