"""Cleaned frames as a search pipeline of the SGN framework reads them, in its own environment."""

from __future__ import annotations

import base64
import json
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deepclean.core.block import Series
from deepclean.core.time import NS
from deepclean.io import gwf
from tests.helpers import peer_environment
from tests.helpers import small_site as site
from tests.helpers.site_runs import OUT_DQ, clean, daemon, is_written, until
from tests.helpers.small_site import START

CHANNELS = (OUT_DQ, "H1:DEEPCLEAN-STATE_VECTOR", "H1:DEEPCLEAN-60HZ_GAIN", site.STATE)
READER = str(peer_environment.PROGRAMS / "sgn_reader.py")

Read = dict[str, np.ndarray]


def ours(directory: Path, second: int) -> Read:
    """Return what this software reads of a second's frame."""
    read = gwf.read(directory / f"H-H1_DEEPCLEAN-{second}-1.gwf", CHANNELS)
    return {name: s.samples for name, s in read.items() if isinstance(s, Series)}


def theirs(lines: list[str]) -> tuple[set[int], Read]:
    """Return where what the peer says starts (GPS nanoseconds), and the samples."""
    starts, held = set(), {}
    for line in lines:
        said = json.loads(line)
        assert "samples" in said, f"a gap: {line}"
        starts.add(said["start"])
        held[said["channel"]] = np.frombuffer(base64.b64decode(said["samples"]), said["type"])
        assert len(held[said["channel"]]) == said["rate"]
    return starts, held


def assert_equal(read: Read, expected: Read) -> None:
    assert set(read) == set(expected) == set(CHANNELS)
    for name, samples in expected.items():
        assert read[name].dtype == samples.dtype, name
        np.testing.assert_array_equal(read[name], samples, err_msg=name)


def test_file_source_reads_every_second(tmp_path: Path) -> None:
    peer_environment.python()
    config = site.make_site(tmp_path, seconds=12)
    begin, end = START + 2, START + 9
    clean(config, begin, end, tmp_path / "cleaned")
    arguments = ("files", str(tmp_path / "cleaned"), str(begin), str(end), *CHANNELS)
    with peer_environment.running(tmp_path / "peer", READER, *arguments) as peer:
        for second in range(begin, end):
            starts, held = theirs([peer.hear() for _ in CHANNELS])
            assert starts == {second * NS}
            assert_equal(held, ours(tmp_path / "cleaned", second))
        assert peer.hear() == ""
        assert peer.process.wait(timeout=60) == 0, peer.log.read_text()


@pytest.mark.slow
def test_source_follows_the_daemon(tmp_path: Path) -> None:
    peer_environment.python()
    config = site.make_site(tmp_path, seconds=8)
    cleaned = config.output.directory
    begin, end = START + 7, START + 20
    with ExitStack() as stack:
        process = stack.enter_context(daemon(config, tmp_path / "log"))
        site.write_site(config, begin + 1, 1)
        until(partial(is_written, config, begin), process)
        arguments = ("watch", str(cleaned), str(begin), str(end), *CHANNELS)
        peer = stack.enter_context(peer_environment.running(tmp_path / "peer", READER, *arguments))
        for second in range(begin, end):
            # Each second arrives before the next is written; the last is let go at the end.
            starts, held = theirs([peer.hear() for _ in CHANNELS])
            assert starts == {second * NS}
            assert_equal(held, ours(cleaned, second))
            assert not is_written(config, second + 1)
            if second + 2 < end:
                site.write_site(config, second + 2, 1)
            elif second + 2 == end:
                process.send_signal(signal.SIGTERM)
        assert peer.hear() == ""
        assert peer.process.wait(timeout=60) == 0, peer.log.read_text()
        assert process.wait(timeout=60) == 0
    assert "skipping" not in peer.log.read_text()
