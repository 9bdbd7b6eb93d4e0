"""gwpy's own data access, on real frame files; only the service that finds them is ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.core.block import Gap, Series
from deepclean.core.time import Span
from deepclean.edge import gwf
from deepclean.edge.files import OutputChannel
from deepclean.errors import InputError
from deepclean.train.remote import fetch

START = 1_400_000_000
STRAIN, WITNESS = "H1:STRAIN", "H1:WITNESS"


def frame(directory: Path, start: int) -> None:
    span = Span.of_seconds(start, 4)
    strain = np.arange(1024.0) + (start - START) * 256
    witness = np.arange(64, dtype=np.float32)
    content = gwf.serialise(
        span,
        {
            STRAIN: OutputChannel(Series(span, 256, strain), "strain"),
            WITNESS: OutputChannel(Series(span, 16, witness)),
        },
    )
    gwf.publish(directory / f"H-H1_HOFT-{start}-4.gwf", content)


@contextmanager
def service(directory: Path) -> Iterator[str]:
    """The name of a gwpy data source that finds a directory's frames."""
    from gwpy.timeseries import TimeSeriesDict

    registry = TimeSeriesDict.get.registry

    def find(channels: list[str], start: Any, end: Any, *, pad: float, **_: Any) -> Any:
        files = sorted(map(str, directory.glob("*.gwf")))
        return TimeSeriesDict.read(files, channels, start=start, end=end, pad=pad, gap="pad")

    registry.register_reader("somewhere", TimeSeriesDict, find)
    registry.register_identifier("somewhere", TimeSeriesDict, lambda *_, **__: [{"priority": 1}])
    try:
        yield "somewhere"
    finally:
        registry.unregister_identifier("somewhere", TimeSeriesDict)
        registry.unregister_reader("somewhere", TimeSeriesDict)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    """A source of frames at START and START + 8, none between."""
    frame(tmp_path, START)
    frame(tmp_path, START + 8)
    with service(tmp_path) as name:
        yield name


def test_what_gwpy_fetches_is_read_like_any_source(source: str) -> None:
    span = Span.of_seconds(START, 12)
    fetched = fetch([WITNESS, STRAIN], span, source=source)
    assert fetched.channels() == {WITNESS: 16, STRAIN: 256}
    assert fetched.channels([STRAIN, "H1:OTHER"]) == {STRAIN: 256}
    assert fetched.spans(STRAIN) == [span]
    assert fetched.spans("H1:OTHER") == []
    held = fetched.read([STRAIN, WITNESS], Span.of_seconds(START + 1, 2))
    strain = held[STRAIN]
    assert isinstance(strain, Series)
    assert np.array_equal(strain.samples, np.arange(256, 768))


def test_a_hole_between_files_is_a_gap(source: str) -> None:
    fetched = fetch([STRAIN], Span.of_seconds(START, 12), source=source)
    assert fetched.read([STRAIN], Span.of_seconds(START + 3, 2))[STRAIN] == Gap(
        Span.of_seconds(START + 3, 2), "missing"
    )
    later = fetched.read([STRAIN], Span.of_seconds(START + 8, 4))[STRAIN]
    assert isinstance(later, Series)
    assert later.samples[0] == 2048
    outside = Span.of_seconds(START + 11, 2)
    assert fetched.read([STRAIN, "H1:OTHER"], outside) == {
        STRAIN: Gap(outside, "missing"),
        "H1:OTHER": Gap(outside, "missing"),
    }


def test_what_gwpy_cannot_get_is_one_line(source: str) -> None:
    with pytest.raises(InputError) as caught:
        fetch(["H1:ABSENT"], Span.of_seconds(START, 4), source=source)
    assert caught.value.channels == ("H1:ABSENT",)
    assert "\n" not in str(caught.value)
