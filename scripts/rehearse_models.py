#!/usr/bin/env python3
"""Let a site's coupling drift and watch the models take care of it, with nobody there.

A simulated site writes frames; its coupling grows 2.5 times as strong over some minutes, and falls
back at once much later. The daemon's parts clean the frames as fast as they can, the keeper follows
the store each second, and `deepclean retrain`'s work is done at a cadence. A bad canary is
published on purpose. All that is without adaptation; then the first model alone cleans the same
frames with it. What is asserted: the residual comes back to within 5 % of the floor, the bad
canary is rejected, production that turns bad is rolled back, and every second has its frame.

    python -m scripts.rehearse_models                  all rules as they are by default, minutes
    python -m scripts.rehearse_models --fast           low rates and short times
    python -m scripts.rehearse_models --figure docs/models-life.png
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import common

common.limit_threads()

import torch

from benchmarks.site import START
from deepclean.cli.models.options import fits
from deepclean.cli.options import histories
from deepclean.core.rollout.rollout import Event
from deepclean.core.time import NS
from deepclean.io.frame_channels import channels_of
from deepclean.io.source import HistorySource
from deepclean.models import files as models
from deepclean.models.content import read_version
from deepclean.models.manifest import Description
from deepclean.models.networks import Wiener
from deepclean.models.store import changes as store
from deepclean.models.store import rejections, versions
from deepclean.rollout import record
from deepclean.train.retrain import Job, RetrainRecord, retrain
from scripts.rehearse_report import BAD, FIRST, GOOD, Second, assert_sound, draw, measure, table
from scripts.rehearse_site import COUPLING, FAST, FULL, Place
from tests.helpers.model_stream import Stream


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What happened."""

    place: Place
    events: list[Event]  # of the run's record
    retrained: dict[int, RetrainRecord]  # what came of each retraining, by GPS second
    seconds: list[Second]  # what was measured of each frame

    def require(self) -> None:
        """Raise AssertionError unless all came as it has to."""
        assert_sound(self.place, self.seconds, self.events)
        place = self.place.models
        pointers = [versions.read_pointer(place, pointer) for pointer in versions.POINTERS]
        assert pointers == [FIRST, None], f"production and canary: {pointers}"
        for version in (GOOD, BAD):
            assert rejections.read(place, version), f"nothing says why {version} is no good"


def rehearse(root: Path, *, fast: bool) -> Rehearsed:
    """Go through it in an empty directory."""
    place = Place(root, FAST if fast else FULL)
    place.write()
    plan, recordings = place.plan, histories(place.config, None, None)
    source = HistorySource(channels_of(place.config), *recordings)
    first = retrained(place, START)
    assert first.version is not None, first.why
    store.promote(place.models, first.version, fits(place.config, COUPLING), "the first one")
    stream, found = Stream(place.config), dict[int, RetrainRecord]()
    for frame in source.frames(place.span, stream.engine.needs(place.span)):
        now = frame.span.start // NS
        if frame.wanted and (now - START) % plan.every == 0:
            found[now] = retrained(place, now)
        if now == START + plan.bad_at:
            publish_flipped(place)
        stream.take(frame)
    stream.cleaning.release()
    stream.follower.poll()
    ledger = stream.cleaning.ledger
    assert (len(stream.written), ledger.lost.total()) == (plan.end, 0), "a frame is missing"
    path = record.path_in(place.config.output.directory, place.config.output.description)
    return Rehearsed(place, record.read(path), found, measure(place, adapted(place)))


def adapted(place: Place) -> Path:
    """Clean the same frames with the first version and adaptation; return the directory."""
    into = place.config.output.directory.parent / "adapted"
    model = place.models / str(FIRST)
    changes = [f"couplings.{COUPLING}.adapt=gain", f"couplings.{COUPLING}.model={model}"]
    changes += place.plan.overrides
    span = ["--start", str(START), "--end", str(START + place.plan.end), "--output", str(into)]
    command = [sys.executable, "-m", "deepclean", "replay", "-c", str(place.site.path), *span]
    subprocess.run([*command, *(f"--set={one}" for one in changes)], check=True)
    return into


def retrained(place: Place, now: int) -> RetrainRecord:
    """Do what `deepclean retrain --end NOW --search` does."""
    data = histories(place.config, None, None)
    config = place.config
    return retrain(
        Job(config, COUPLING, now * NS, lambda span: data, fits(config, COUPLING), search=True)
    )


def publish_flipped(place: Place) -> None:
    """Publish production with its sign flipped, and make it the canary."""
    production = place.models / str(versions.read_pointer(place.models, "production"))
    model = models.load(production)
    _, manifest, _ = read_version(production)
    network = model.network
    assert isinstance(network, Wiener)
    with torch.no_grad():
        for weights in network.parameters():
            weights.neg_()
    facts = manifest.model_dump(include=set(Description.model_fields))
    content, made = models.make(network, model.scalers, Description(**facts))
    path = store.add(place.config.models.directory, content, made, "its sign is wrong")
    store.set_canary(place.models, int(path.name), fits(place.config, COUPLING), "on purpose")


def main() -> None:
    """Rehearse, and say what happened."""
    parser = common.parser(__doc__)
    parser.add_argument("--fast", action="store_true", help="low rates and short times")
    parser.add_argument("--out", type=Path, help="an empty directory for all files; default: none")
    parser.add_argument("--figure", type=Path, help="where to draw the residual")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with common.scratch() as temporary:
        root = options.out or temporary
        root.mkdir(parents=True, exist_ok=True)
        done = rehearse(root, fast=options.fast)
        told = table(done.place.plan, done.events, done.retrained, done.seconds)
        figures = {"seconds": [asdict(one) for one in done.seconds]}
        common.run("rehearse_models", options, lambda _: figures, lambda _: told)
        if options.figure:
            draw(done.place.plan, done.events, done.seconds, options.figure)
        done.require()


if __name__ == "__main__":
    main()
