"""gwpy's own data access, on real frame files; only the service that finds them is ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.datafind import PIECE, RemoteHistory, fetch
from tests.helpers import training_site
from tests.helpers.commands import Run
from tests.helpers.datafind_service import NAME, somewhere

START = 1_400_000_000
"""A multiple of 128."""

STRAIN, WITNESS, STATE = "H1:STRAIN", "H1:WITNESS", "H1:STATE"


def frame(directory: Path, start: int) -> None:
    span = Span.of_seconds(start, 4)
    strain = np.arange(1024.0) + (start - START) * 256
    witness = np.arange(64, dtype=np.float32)
    content = gwf.serialise(
        span,
        {
            STRAIN: OutputChannel(Series(span, 256, strain), "strain"),
            WITNESS: OutputChannel(Series(span, 16, witness)),
            STATE: OutputChannel(Series(span, 16, np.full(64, 7, dtype=np.uint32))),
        },
    )
    gwf.publish(directory / f"H-H1_HOFT-{start}-4.gwf", content)


Asked = list[tuple[int, int]]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    """What a gwpy data source is asked for that has START and START + 8, 124, 128, none between."""
    for after in (0, 8, 124, 128):
        frame(tmp_path, START + after)
    with somewhere(tmp_path) as asked:
        yield asked


@pytest.mark.usefixtures("asked")
def test_what_gwpy_fetches_is_read_like_any_source() -> None:
    span = Span.of_seconds(START, 12)
    fetched = fetch([WITNESS, STRAIN], span, source=NAME)
    assert fetched.channels() == {WITNESS: 16, STRAIN: 256}
    assert fetched.channels([STRAIN, "H1:OTHER"]) == {STRAIN: 256}
    assert fetched.spans(STRAIN) == [span]
    assert fetched.spans("H1:OTHER") == []
    held = fetched.read([STRAIN, WITNESS], Span.of_seconds(START + 1, 2))
    strain = held[STRAIN]
    assert isinstance(strain, Series)
    assert np.array_equal(strain.samples, np.arange(256, 768))


@pytest.mark.usefixtures("asked")
def test_a_hole_between_files_is_a_gap() -> None:
    fetched = fetch([STRAIN], Span.of_seconds(START, 12))
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


@pytest.mark.usefixtures("asked")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_where_the_state_is_missing_no_bit_is_set() -> None:
    span = Span.of_seconds(START, 12)
    state = fetch([STRAIN, STATE], span, STATE).read([STATE], span)[STATE]
    assert isinstance(state, Series)
    assert state.samples.dtype == np.uint32
    assert state.samples.reshape(3, -1).tolist() == [[7] * 64, [0] * 64, [7] * 64]
    # Integers without a word for what is missing would make up what was not there.
    with pytest.raises(InputError, match="invalid value"):
        fetch([STRAIN, STATE], span)


@pytest.mark.usefixtures("asked")
def test_what_gwpy_cannot_get_is_one_line() -> None:
    with pytest.raises(InputError) as caught:
        fetch(["H1:ABSENT"], Span.of_seconds(START, 4))
    assert caught.value.channels == ("H1:ABSENT",)
    assert "\n" not in str(caught.value)
    # It says what each source said, not that there were some.
    assert "H1:ABSENT" in str(caught.value)
    assert "Error getting data from somewhere [1/1]" in str(caught.value)
    assert "sub-exception" not in str(caught.value)


def test_remote_history_is_fetched_piece_by_piece_as_it_is_read(asked: Asked) -> None:
    remote = RemoteHistory(Span.of_seconds(START + 8, 200), STATE)
    assert remote.require([STRAIN]) == {STRAIN: 256}
    for second in (*range(124, 132), 8, 9):
        span = Span.of_seconds(START + second, 1)
        strain = remote.read([STRAIN], span)[STRAIN]
        assert isinstance(strain, Series), second
        assert strain.samples[0] == 256 * second
    assert asked == [(START, START + 128), (START + 128, START + 256)]
    over = Span.of_seconds(START + 126, 4)
    both = remote.read([STRAIN], over)[STRAIN]
    assert isinstance(both, Series)
    assert np.array_equal(both.samples, np.arange(126 * 256, 130 * 256))
    assert remote.read([STRAIN], Span.of_seconds(START + 4, 1))[STRAIN] == Gap(
        Span.of_seconds(START + 4, 1), "missing"
    )
    assert remote.faults == []
    # Two pieces are kept: another one costs the one that was read longest ago.
    remote.read([WITNESS], Span.of_seconds(START, 1))
    remote.read([STRAIN], Span.of_seconds(START, 1))
    assert asked[2:] == [(START, START + 128)]
    remote.read([STRAIN], Span.of_seconds(START + 128, 1))
    assert asked[3:] == [(START + 128, START + 256)]


def test_a_piece_that_cannot_be_had_is_a_gap_and_noted(asked: Asked) -> None:
    remote = RemoteHistory(Span.of_seconds(START, 12))
    before = Span.of_seconds(START - 3, 4)
    assert remote.read([STRAIN], before)[STRAIN] == Gap(before, "missing")
    remote.read([STRAIN], before)
    assert len(asked) == 2
    (fault,) = remote.faults
    missing = Span(START * NS - PIECE, START * NS)
    assert str(fault) == f"gwpy has nothing of {STRAIN} in {missing}"
    empty = RemoteHistory(Span.of_seconds(START - 3, 4))
    with pytest.raises(InputError, match="gwpy has nothing"):
        empty.require([STRAIN])


def test_training_fetches_what_its_coupling_needs(deepclean: Run, tmp_path: Path) -> None:
    config = training_site.make_site(tmp_path)
    span = f"--start {START} --end {START + training_site.SECONDS}"
    with somewhere(config.input.strain_frames.directory):
        command = f"train -c toy.yaml 30Hz {span} --architecture wiener --fetch"
        deepclean(tmp_path, command).good()
        # The first version was trained on the same data, from files.
        first, second = (config.models.directory / "H1" / "30Hz" / name for name in "12")
        for name in ("weights.safetensors", "scalers.safetensors"):
            assert (first / name).read_bytes() == (second / name).read_bytes()
        unknown = deepclean(tmp_path, command.replace("30Hz", "30hz"))
    unknown.refused("did you mean 30Hz?")
