"""A configuration file as text, with comments, from what was found at a site."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepclean.core.time import NS
from deepclean.site.proposal import Proposal, ProposedCoupling
from deepclean.site.streams import Stream

_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Texts that some readers of YAML take for values of another kind."""


def configuration(proposal: Proposal, file: Path) -> str:
    """Return the text of a configuration file.

    Args:
        proposal: what it says.
        file: where it will lie; directories near it are written relative to it.
    """
    return "\n".join(_lines(proposal, file.absolute().parent)) + "\n"


def _lines(proposal: Proposal, near: Path) -> Iterator[str]:
    site, stream = proposal.interferometer, proposal.stream
    span = proposal.latest
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
    yield (
        f"  # {stream.files} files, the last stretch GPS {span.start // NS} to {span.end // NS}."
    )
    yield f"  strain: {_frames(stream, near)}"
    if proposal.witnesses:
        yield "  witnesses:"
        yield from (f"    - {_frames(each, near)}" for each in proposal.witnesses)
    else:
        yield "  # The witnesses are in the strain's own files."
    yield ""
    yield "output:"
    yield "  directory: cleaned  # for the service: a directory that its user may write"
    yield "  products: [OUT_DQ, PRODUCTION, CANARY]"
    yield ""
    yield "models:"
    yield "  directory: models  # deepclean train makes it"
    yield ""
    yield "couplings:"
    for one in proposal.couplings:
        yield from _coupling(one, site)
        yield ""


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


def _frames(stream: Stream, near: Path) -> str:
    directory = stream.directory.absolute()
    relative = os.path.relpath(directory, near)
    shown = str(directory) if relative.startswith("../..") else relative
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
        seconds: of data that a training should have, at most.
    """
    span = proposal.latest
    end = span.end // NS
    start = max(-(-span.start // NS), end - seconds)
    yield f"deepclean config {file}"
    yield f"deepclean check -c {file}"
    yield f"deepclean train -c {file} --all --start {start} --end {end}"
    yield f"deepclean run -c {file}"
