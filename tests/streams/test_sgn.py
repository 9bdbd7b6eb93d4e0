"""The SGN element in pipelines of SGN's own sources and sinks: samples, gaps, ends of streams."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path

import gwframe
import numpy as np
import pytest
from sgn.apps import Pipeline
from sgn.base import SinkPad
from sgn_gwframe.sources import GWFrameSource
from sgnts.base import Offset, TSFrame, TSTransform
from sgnts.sinks import NullSeriesSink, TSFrameCollectSink
from sgnts.sources import FakeSeriesSource, SegmentSource, TSIterSource

from deepclean.config import load
from deepclean.core.block import Block, CleanedBlock, Samples
from deepclean.core.output.products import State
from deepclean.core.time import Span
from deepclean.errors import ConfigError, InputError
from deepclean.io import gwf
from deepclean.sgn import DeepClean
from tests.helpers import training_site as toy
from tests.helpers.commands import Run
from tests.helpers.frame_files import samples_of

ROOT = Path(__file__).parents[2]
OUT_DQ = f"{toy.STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ"
STATE = "H1:DEEPCLEAN-STATE_VECTOR"
EVERY = [
    OUT_DQ,
    OUT_DQ.removesuffix("_OUT_DQ"),
    STATE,
    *(f"H1:DEEPCLEAN-30HZ_{what}" for what in ("MODEL_VERSION", "GAIN", "ADAPT_AMPLITUDE")),
]
CHANNELS = list(toy.RATES)
BEGIN, SECONDS = toy.START * Offset.MAX_RATE, 64

Masks = dict[str, list[tuple[float, float]]]

SECONDS_MASKED: Masks = {toy.STRAIN: [(50, 51)], toy.LINE: [(30, 31)], toy.MOTION: [(55, 57)]}
"""Seconds that are flagged. Those within a frame are all that SGN's frame source reads as a gap."""

MASKED: Masks = SECONDS_MASKED | {
    toy.STRAIN: [(40.3, 40.55), (50, 51)],  # parts of sixteenths, and a second
    toy.LINE: [(30.13, 30.5), (56, 56.25)],
    toy.MOTION: [(31, 31.5)],
}
"""Seconds in which samples are flagged, by channel."""


@pytest.fixture(autouse=True)
def one_second() -> Iterator[None]:
    """Give the process's stride back."""
    before = Offset.SAMPLE_STRIDE_AT_MAX_RATE
    yield
    Offset.SAMPLE_STRIDE_AT_MAX_RATE = before


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and files of 8 s in which seconds and parts of seconds are flagged."""
    place = tmp_path_factory.mktemp("site")
    toy.make_site(place)
    write_files(place / "seconds", SECONDS_MASKED)
    write_files(place / "parts", MASKED)
    return place


def write_files(directory: Path, flagged: Masks) -> None:
    directory.mkdir()
    made, masks = toy.channels(toy.SECONDS, product=toy.LINE_ONLY), masked(flagged)
    for first in range(0, SECONDS, 8):
        path = directory / f"H-H1_llhoft-{toy.START + first}-8.gwf"
        with gwframe.FrameWriter(path) as writer:
            for second in range(first, first + 8):
                frame = gwframe.Frame(float(toy.START + second), 1.0, name="H1")
                for name, rate in toy.RATES.items():
                    part = slice(second * rate, (second + 1) * rate)
                    samples = np.ma.MaskedArray(made[name][part], mask=masks[name][part])
                    frame.add_channel(name, samples, rate, channel_type="adc", aux_mask=True)
                writer.write_frame(frame)


def masked(flagged: Masks = MASKED) -> dict[str, Samples]:
    """Return which samples are flagged."""
    masks = {name: np.zeros(SECONDS * rate, dtype=bool) for name, rate in toy.RATES.items()}
    for name, spans in flagged.items():
        for low, high in spans:
            masks[name][round(low * toy.RATES[name]) : round(high * toy.RATES[name])] = True
    return masks


Replayed = Mapping[int, Mapping[str, Samples]]
"""What a replay makes: by second after the start, the samples of each channel."""


def replay(deepclean: Run, site: Path, directory: str, *overrides: str) -> Replayed:
    """Replay a directory's files."""
    command = f"replay -c toy.yaml --start {toy.START} --end {toy.START + SECONDS} "
    command += " ".join(f"--set {o}" for o in [f"input.strain.directory={directory}", *overrides])
    output = site / f"cleaned from {directory}"
    deepclean(site, f"{command} --output '{output}'").good()
    found = {}
    for path in output.glob("*.gwf"):
        read = gwf.read(path, list(gwf.channels(path)))
        second = gwf.span(path).start // 10**9 - toy.START
        found[second] = {name: samples_of(series) for name, series in read.items()}
    return found


def element(site: Path, *overrides: str) -> DeepClean:
    return DeepClean(name="deepclean", config=site / "toy.yaml", overrides=overrides)


def every_channel(site: Path) -> DeepClean:
    return DeepClean(name="deepclean", config=site / "toy.yaml", channels=EVERY)


def frame_source(
    site: Path, channels: Sequence[str] = CHANNELS, end: int = SECONDS
) -> GWFrameSource:
    files = sorted((site / "seconds").glob("*.gwf"))
    start = toy.START
    return GWFrameSource(
        name=f"frames of {channels[0]}",
        channels=[*channels],
        frames=files,
        start=start,
        end=start + end,
    )


def run(cleaner: DeepClean, *sources: object) -> dict[str, TSFrame]:
    """Run a pipeline to its end; return all that came out of each pad, as one frame."""
    sink = TSFrameCollectSink(name="sink", sink_pad_names=cleaner.static_source_pads)
    pipeline = Pipeline()
    for source in sources:
        pipeline.connect(source, cleaner)
    pipeline.connect(cleaner, sink)
    pipeline.run()
    found: dict[str, TSFrame] = sink.out_frames()
    return found


def assert_as_replayed(out: Mapping[str, TSFrame], replayed: Replayed) -> None:
    """Assert that every second of a replay came out with the same samples, and nothing else."""
    for name, frame in out.items():
        assert (frame.offset, frame.end_offset) == (BEGIN, BEGIN + SECONDS * Offset.MAX_RATE)
        samples, gap = frame.filleddata(), frame.gap_mask()
        rate = frame.sample_rate
        for second, made in replayed.items():
            part = slice(second * rate, (second + 1) * rate)
            assert not gap[part].any()
            np.testing.assert_array_equal(samples[part], made[name], err_msg=f"{name} {second}")
            assert samples.dtype == made[name].dtype


def streamed(channel: str, cuts: Sequence[int]) -> TSIterSource:
    """Return a source of a channel whose frames end at these offsets from the start."""
    samples, gaps = toy.channels(toy.SECONDS, product=toy.LINE_ONLY)[channel], masked()[channel]
    step, frames = Offset.MAX_RATE // toy.RATES[channel], []
    for low, high in pairwise(cuts):
        part = slice(low // step, high // step)
        frames.append(
            TSFrame.frame_from_masked(samples[part], gaps[part], BEGIN + low, toy.RATES[channel])
        )
    return TSIterSource(name=channel, source_pad_names=[channel], frames=frames, end=2e9)


@pytest.mark.parametrize("stride", [1024, 5 * 16384])
def test_frames_come_out_as_a_replay_makes_them(deepclean: Run, site: Path, stride: int) -> None:
    Offset.SAMPLE_STRIDE_AT_MAX_RATE = stride
    out = run(every_channel(site), frame_source(site))
    replayed = replay(deepclean, site, "seconds")
    assert len(replayed) == SECONDS - 1  # a frame with flagged strain is not written
    assert_as_replayed(out, replayed)
    cleaned = [(made[STATE] & State.CLEANED) != 0 for made in replayed.values()]
    assert np.mean(cleaned) > 0.5


def test_buffers_of_any_length_give_the_same(deepclean: Run, site: Path) -> None:
    rng, end, sources = np.random.default_rng(2), SECONDS * Offset.MAX_RATE, []
    for name, rate in toy.RATES.items():
        step = Offset.MAX_RATE // rate
        places = np.unique(rng.integers(0, end // step, size=60)) * step
        sources.append(streamed(name, sorted({0, *places.tolist(), end})))
    replayed = replay(deepclean, site, "parts")
    assert len(replayed) == SECONDS - 2
    assert_as_replayed(run(every_channel(site), *sources), replayed)


def test_strain_of_a_torn_sixteenth_comes_out_as_it_came(site: Path) -> None:
    cuts = [0, SECONDS * Offset.MAX_RATE]
    out = run(element(site), *(streamed(name, cuts) for name in CHANNELS))
    raw = toy.channels(toy.SECONDS, product=toy.LINE_ONLY)[toy.STRAIN][: 512 * SECONDS]
    gap = masked()[toy.STRAIN]
    np.testing.assert_array_equal(out[OUT_DQ].gap_mask(), gap)
    # From 40.3 to 40.55 s samples are flagged. The sixteenths from 40.25 and 40.5 have some others.
    low, high = int(40.25 * 512), int(40.5625 * 512)
    there = ~gap[low:high]
    assert 0 < there.sum() < high - low
    np.testing.assert_array_equal(out[OUT_DQ].filleddata()[low:high][there], raw[low:high][there])
    state, absent = out[STATE].filleddata(), out[STATE].gap_mask()
    assert absent[40 * 16 : 41 * 16].tolist() == [k in range(5, 8) for k in range(16)]
    assert np.flatnonzero(state[40 * 16 : 41 * 16] == 0).tolist() == [4, 5, 6, 7, 8]


def test_a_stream_that_begins_and_ends_anywhere(site: Path) -> None:
    step, channels = 32, toy.channels(toy.SECONDS, product=toy.LINE_ONLY)
    first, last = 5 * step, 12 * Offset.MAX_RATE + 7 * step
    sources = [streamed(name, [first, 3 * Offset.MAX_RATE, last]) for name in [toy.STRAIN]]
    others = [name for name in CHANNELS if name != toy.STRAIN]
    out = run(element(site), *sources, frame_source(site, others))[OUT_DQ]
    there = ~out.gap_mask()
    place = (out.offset - BEGIN) // step + np.flatnonzero(there)
    assert place.tolist() == list(range(first // step, last // step))
    samples = out.filleddata()[there]
    ends = np.r_[: 32 - 5, len(place) - 7 : len(place)]  # sixteenths that are not whole
    np.testing.assert_array_equal(samples[ends], channels[toy.STRAIN][place[ends]])


def test_a_witness_that_ends_is_a_gap_from_there_on(site: Path) -> None:
    others = [name for name in CHANNELS if name != toy.MOTION]
    sources = [frame_source(site, others), frame_source(site, [toy.MOTION], end=20)]
    out = run(element(site), *sources)
    assert out[OUT_DQ].end_offset == BEGIN + SECONDS * Offset.MAX_RATE
    bits = out[STATE].filleddata().reshape(SECONDS, 16)
    good = (bits & State.WITNESSES_GOOD) != 0
    assert good[10].all()
    assert not good[20:].any()


def test_what_lags_too_long_is_a_gap_and_nothing_is_lost(site: Path) -> None:
    cuts, end = [0, *range(4 * 16384, SECONDS * 16384 + 1, 16384)], SECONDS * 16384
    late = [0, 10 * 16384, *([10 * 16384] * 40), end]  # says nothing for 40 s
    sources = [streamed(name, late if name == toy.LINE else cuts) for name in CHANNELS]
    cleaner = DeepClean(name="deepclean", config=site / "toy.yaml", max_age=8.0)
    out = run(cleaner, *sources)
    np.testing.assert_array_equal(out[OUT_DQ].gap_mask(), masked()[toy.STRAIN])
    good = (out[STATE].filleddata().reshape(SECONDS, 16) & State.WITNESSES_GOOD) != 0
    assert good[5].all()
    assert not good[12:30].any()


def test_sources_of_sgn_and_a_stream_with_no_strain(site: Path) -> None:
    """SGN's own test sources: white noise, and strain in one segment only."""
    start, seconds, ns = toy.START, 12, 10**9
    noise = [
        FakeSeriesSource(
            name=name,
            source_pad_names=[name],
            rate=rate,
            signal_type="white",
            start=start,
            end=start + seconds,
            random_seed=3,
        )
        for name, rate in toy.RATES.items()
        if name not in (toy.STRAIN, toy.STATE)
    ]
    strain = SegmentSource(
        name="strain",
        source_pad_names=[toy.STRAIN],
        rate=512,
        start=start,
        end=start + seconds,
        segments=(((start + 3) * ns, (start + 9) * ns),),
    )
    cleaner = element(site, "strain.state_vector=null")
    out = run(cleaner, strain, *noise)[OUT_DQ]
    assert (~out.gap_mask()).reshape(seconds, 512).all(axis=1).tolist() == [
        3 <= second < 9 for second in range(seconds)
    ]
    np.testing.assert_array_equal(out.filleddata(), np.where(out.gap_mask(), 0.0, 1.0))


def test_the_latency_is_what_it_says(site: Path) -> None:
    """The newest sample out is `latency` behind the newest in, at most."""
    Offset.SAMPLE_STRIDE_AT_MAX_RATE = 1024

    class Watch(NullSeriesSink):  # type: ignore[misc]
        def pull(self, pad: SinkPad, frame: TSFrame) -> None:
            super().pull(pad, frame)
            queue = cleaner._queues[toy.STRAIN]
            if not queue.ended:
                behind.append((queue.end - frame.end_offset) / Offset.MAX_RATE)

    sink = Watch(name="sink", sink_pad_names=["strain"])
    cleaner = DeepClean(name="deepclean", config=site / "toy.yaml", channels=[OUT_DQ])
    behind: list[float] = []
    pipeline = Pipeline()
    pipeline.connect(frame_source(site, end=8), cleaner)
    pipeline.connect(cleaner, sink, link_map={"strain": OUT_DQ})
    pipeline.run()
    assert cleaner.latency - 1 < max(behind) <= cleaner.latency


def test_a_rate_that_sgn_does_not_have_is_refused(site: Path) -> None:
    with pytest.raises(ConfigError, match=r"strain.rate: 20000 Hz.*Arrakis client"):
        element(site, "strain.rate=20000")
    with pytest.raises(ConfigError, match=r"engine.resample.slowest_rate: 8 Hz"):
        element(site, "engine.resample.slowest_rate=8")


def test_one_setting_is_enough_and_those_of_what_is_read_already_are_refused(site: Path) -> None:
    config = load(site / "toy.yaml")
    with pytest.raises(ConfigError, match="read already"):
        DeepClean(config=config, overrides=["engine.hop=0.5"])
    one = DeepClean(config=site / "toy.yaml", overrides="engine.hop=0.5", channels=STATE)
    assert one.source_pad_names == [STATE]
    assert DeepClean(config=config).latency - one.latency == 0.5


def test_strain_at_another_rate_is_refused(site: Path) -> None:
    sources = [
        FakeSeriesSource(name=n, source_pad_names=[n], rate=256, start=toy.START, end=toy.START + 4)
        for n in CHANNELS
    ]
    with pytest.raises(InputError, match="256 Hz, the configuration says 512 Hz"):
        run(element(site), *sources)


def test_a_failing_engine_passes_the_strain_through(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaner = element(site)
    push, bad = cleaner._assembler.engine.push, Span.of_seconds(toy.START + 14, 1)

    def fails(block: Block) -> list[CleanedBlock]:
        if block.span == bad:
            raise FloatingPointError("on purpose")
        return push(block)

    monkeypatch.setattr(cleaner._assembler.engine, "push", fails)
    out = run(cleaner, frame_source(site, end=24))
    raw = toy.channels(toy.SECONDS, product=toy.LINE_ONLY)[toy.STRAIN][: 512 * 24]
    assert not out[OUT_DQ].gap_mask().any()
    np.testing.assert_array_equal(
        out[OUT_DQ].filleddata()[14 * 512 : 15 * 512], raw[14 * 512 : 15 * 512]
    )


def test_sgn_finds_the_element() -> None:
    """The entry points that an installation would have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    group = "sgn_elements"
    (point,) = (EntryPoint(n, v, group) for n, v in project["entry-points"][group].items())
    found = point.load()
    assert found is DeepClean
    assert issubclass(found, TSTransform)


def test_the_pages_pipeline_runs(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "sgn.md").read_text()
    example = page.split("```python")[1].split("```")[0]
    monkeypatch.chdir(site)
    assert len([line for line in example.splitlines() if line and " import " not in line]) <= 5
    for old, new in {"H1.yaml": "toy.yaml", '"frames"': '"seconds"', "64)": "8)"}.items():
        assert old in example
        example = example.replace(old, new)
    exec(example, {})
    (path,) = (site / "out").glob("*.gwf")
    assert OUT_DQ in gwf.channels(path)
