"""The daemon behind the LIGO distribution's own processes: a broker, and `kafka2frame` writing."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from deepclean.config import Config
from tests.helpers import peer_environment
from tests.helpers import small_site as site
from tests.helpers.site_runs import clean, contents, daemon, is_written, stop, until
from tests.helpers.small_site import START


class Site:
    """The distribution of a site: a broker with a sender, and `kafka2frame` once for each stream.

    Args:
        config: where the frames go.
        place: directory for what the programs say.
        stack: on which they run.
        options: of `kafka2frame`.
    """

    def __init__(self, config: Config, place: Path, stack: ExitStack, *options: str) -> None:
        self._payload = place / "payload"
        self._streams = {
            "llhoft": (config.input.strain_frames.directory, site.strain_frame),
            "lldetchar": (config.input.witnesses[0].directory, site.witness_frame),
        }
        sender = peer_environment.running(
            place / "sender", str(peer_environment.PROGRAMS / "lldd_sender.py")
        )
        self._sender = stack.enter_context(sender)
        broker = self._sender.hear()
        self.writers = []
        for topic, (directory, _) in self._streams.items():
            command = ["-m", "igwn_lldd_common.kafka2frame", "--bootstrap-servers", broker]
            command += ["--ifo", "H1", "--topic", topic, "--group-id", topic, "--delta-t", "1"]
            command += ["--tag", f"H1_{topic}", "--frame-dir", str(directory)]
            command += ["--poll-timeout", "100", *options]
            self.writers.append(
                stack.enter_context(peer_environment.running(place / topic, *command))
            )

    def send(self, second: int) -> None:
        for topic, (_, frame) in self._streams.items():
            self._payload.write_bytes(frame(second))
            assert self._sender.ask(f"{topic} {second} {self._payload}") == "sent"

    def holds(self, second: int) -> bool:
        """Return whether a second lies in every directory."""
        ends = [directory.glob(f"*-{second}-1.gwf") for directory, _ in self._streams.values()]
        return all(any(found) for found in ends)

    def start(self, second: int) -> int:
        """Send seconds from this one on until the writers take them; return the next.

        They take what is sent after they are at the broker, and do not say when that is.
        """
        seconds, due = count(second), time.monotonic()

        def taken() -> bool:
            nonlocal second, due
            if time.monotonic() >= due:
                second, due = next(seconds), time.monotonic() + 1.0
                self.send(second)
            return self.holds(second)

        until(taken, self.writers[0].process)
        return second + 1

    def stop(self) -> None:
        for writer in self.writers:
            writer.process.send_signal(signal.SIGINT)
            assert writer.process.wait(timeout=30) == -signal.SIGINT, writer.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("unsafe", [False, True], ids=["atomic", "unsafe"])
def test_frames_of_kafka2frame(tmp_path: Path, unsafe: bool) -> None:
    """Frames through the distribution's own processes, retention on; ours come out the same."""
    config = site.make_site(tmp_path)
    kept = 8
    with ExitStack() as stack:
        options = ("--write-unsafe", str(unsafe), "--ringn", str(kept))
        distribution = Site(config, tmp_path, stack, *options)
        first = distribution.start(START)
        begin, end = first + kept - 1, first + kept + 12
        for second in range(first, begin + 1):
            distribution.send(second)
        until(partial(distribution.holds, begin), distribution.writers[0].process)
        process = stack.enter_context(daemon(config, tmp_path / "log"))
        for second in range(begin + 1, end):
            distribution.send(second)
            if (end - second) % 4 == 1:
                until(partial(is_written, config, second - 1), process)
        stop(process)
        distribution.stop()
    for directory in (config.input.strain_frames.directory, config.input.witnesses[0].directory):
        left = sorted(path.name.split("-")[2] for path in directory.iterdir())
        assert left == [str(second) for second in range(end - kept, end)]
    live = contents(config.output.directory)
    assert sorted(live) == list(range(begin, end))
    said = "13 frames in, 13 written, 12 of them cleaned, 0 lost, 0 s without strain"
    assert said in (tmp_path / "log").read_text()
    (tmp_path / "ours").mkdir()
    ours = site.make_site(tmp_path / "ours")
    site.write_site(ours, first, end - first)
    clean(ours, begin, end - 1, tmp_path / "replay")
    replayed = contents(tmp_path / "replay")
    assert {second: live[second] for second in replayed} == replayed
    assert len(replayed) == 12
