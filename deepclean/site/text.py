"""A configuration file as text, with comments, from what was found at a site."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepclean.core.output.segments import total_seconds
from deepclean.core.time import NS
from deepclean.site.proposal import Proposal, ProposedCoupling
from deepclean.site.served import ServedStream
from deepclean.site.streams import Stream

_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Texts that some readers of YAML take for values of another kind."""


def configuration(proposal: Proposal, seconds: int) -> str:
    """Return the text of a configuration file.

    Args:
        proposal: what it says.
        seconds: of data that a training should have, at least.
    """
    return "\n".join(_lines(proposal, seconds)) + "\n"


def _lines(proposal: Proposal, seconds: int) -> Iterator[str]:
    site, stream = proposal.interferometer, proposal.stream
    yield f"# {site}: written by deepclean init from what was there. `deepclean config FILE`"
    yield "# prints every key with its value; relative directories are relative to this file."
    yield f"interferometer: {site}"
    yield ""
    yield "strain:"
    yield f"  channel: {_short(proposal.channel, site)}"
    yield f"  rate: {proposal.rate}"
    if proposal.state_vector is None:
        yield "  state_vector: null  # none found: all time counts as ready for analysis"
    else:
        yield f"  state_vector: {_short(proposal.state_vector, site)}"
    yield ""
    yield "input:"
    if isinstance(stream, ServedStream):
        stride = f"{_stride(stream, proposal) / NS:g}"
        yield f"  arrakis: {{server: {_quoted(stream.server)}, stride: {stride}}}"
        if proposal.past is None:
            yield "  # For training and replay: strain and witnesses in frame files of the past."
        else:
            yield "  # Of the past, for training and replay:"
            yield from _files(proposal.past, seconds)
        yield ""
        yield "engine:"
        yield f"  hop: {stride}"
    else:
        yield from _files(proposal, seconds)
    yield ""
    yield "output:"
    yield "  directory: cleaned  # for the service: a directory that its user may write"
    yield "  products: [OUT_DQ, PRODUCTION, CANARY]"
    yield ""
    yield "models:"
    yield "  directory: models  # deepclean train makes it"
    yield ""
    if proposal.port is not None:
        yield f"metrics: {{port: {proposal.port}}}  # each detector has its own"
        yield ""
    yield "couplings:"
    for one in proposal.couplings:
        yield from _coupling(one, site)
        yield ""


def _files(proposal: Proposal, seconds: int) -> Iterator[str]:
    stream, shared = proposal.stream, proposal.shared
    first, last, held = shared[0].start // NS, shared[-1].end // NS, total_seconds(shared)
    yield f"  # {stream.files} files, {held} s of data in GPS {first} to {last}."
    yield from (f"  # {one}" for one in cautions(proposal, seconds))
    yield f"  strain: {_frames(stream)}"
    if proposal.witnesses:
        yield "  witnesses:"
        yield from (f"    - {_frames(each)}" for each in proposal.witnesses)
    else:
        yield "  # The witnesses are in the strain's own files."


def _stride(stream: ServedStream, proposal: Proposal) -> int:
    """Return nanoseconds of a block that holds whole blocks of all channels that are cleaned."""
    witnesses = [name for one in proposal.couplings for name in one.witnesses]
    state = [proposal.state_vector] if proposal.state_vector is not None else []
    return stream.stride([proposal.channel, *state, *witnesses])


def _coupling(one: ProposedCoupling, site: str) -> Iterator[str]:
    yield f"  {_key(one.name)}:"
    if one.why_off:
        yield f"    enabled: false  # {one.why_off}"
    if one.about:
        yield f"    about: {_quoted(one.about)}"
    yield f"    bands: [{', '.join(f'[{low:g}, {high:g}]' for low, high in one.bands)}]"
    yield "    witnesses:"
    yield from (f"      - {_short(name, site)}" for name in one.witnesses)
    yield from (f"      # not there: {_short(name, site)}" for name in one.absent)


def cautions(proposal: Proposal, seconds: int) -> Iterator[str]:
    """Yield what the files that are there are not enough for.

    Args:
        proposal: names the files.
        seconds: of data that a training should have, at least.
    """
    if isinstance(proposal.stream, ServedStream):
        yield from () if proposal.past is None else cautions(proposal.past, seconds)
        return
    held = total_seconds(proposal.shared)
    if held < seconds:
        yield f"{held} s are little to train with: for real use have {seconds} s or more"
    for each in dict.fromkeys((proposal.stream, *proposal.witnesses)):
        if len(each.places) > 1:
            yield (
                f"{each.name} lie in {len(each.places)} directories: a replay reads them all, a "
                "live run needs one directory that holds the files themselves"
            )


def _frames(stream: Stream) -> str:
    # The file can be moved, to /etc for the service: the input is where it is all the same.
    shown = os.path.normpath(stream.directory.absolute())
    description = f", description: {_quoted(stream.description)}" if stream.description else ""
    return f"{{directory: {_quoted(shown)}{description}}}"


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else _quoted(name)


def _short(channel: str, site: str) -> str:
    return _quoted(channel.removeprefix(f"{site}:"))


def _quoted(text: str) -> str:
    """Return a text as YAML has it: plain where that can mean nothing else, else as in JSON."""
    plain = re.fullmatch(r"[A-Za-z/][\w./-]*", text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def next_steps(proposal: Proposal, file: Path, seconds: int) -> Iterable[str]:
    """Return the commands that follow, as they can be typed.

    Args:
        proposal: what was written.
        file: the configuration file.
        seconds: of data that the training takes, where they are there.
    """
    yield f"deepclean config {file}"
    yield f"deepclean check -c {file}"
    files = proposal.past if isinstance(proposal.stream, ServedStream) else proposal
    if files is None:
        yield (
            f"deepclean train -c {file} --all --strain PATH --witnesses PATH "
            "--start START --end END"
        )
    else:
        span = files.newest(seconds)
        start, end = -(-span.start // NS), span.end // NS
        yield f"deepclean train -c {file} --all --start {start} --end {end}"
    yield f"deepclean run -c {file}"
