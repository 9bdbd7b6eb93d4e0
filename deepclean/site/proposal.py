"""What a site's streams allow: which strain to clean, and which couplings have their witnesses."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deepclean.config import Config
from deepclean.config.couplings import BandpassConfig
from deepclean.core.filters.bandpass import Band
from deepclean.core.output.segments import intersection
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.site.streams import Stream

_STRAINS = ("GDS-CALIB_STRAIN", "Hrec_hoft_raw_20000Hz", "Hrec_hoft_20000Hz", "DCS-CALIB_STRAIN")
"""Names of calibrated strain channels, the one to clean first. Others are taken by their looks."""

_STATES = ("GDS-CALIB_STATE_VECTOR", "DQ_ANALYSIS_STATE_VECTOR", "DCS-CALIB_STATE_VECTOR")

_LOOKS = re.compile(r"STRAIN|HOFT", re.IGNORECASE)
_CLEANED = re.compile(r"DEEPCLEAN|_CLEAN|NOLINES", re.IGNORECASE)

_LOWEST_RATE = 512
"""Samples per second below which a channel is no strain."""

_ENOUGH = 0.25
"""Share of a published coupling's witnesses with which it is proposed. Few carry most of it."""


@dataclass(frozen=True, slots=True)
class ProposedCoupling:
    """A coupling that could be cleaned.

    Args:
        name: its key in the configuration.
        about: what the noise is.
        bands: in Hz.
        witnesses: full names of those that are there.
        absent: full names of published ones that are not.
        why_off: why it is written as not enabled; empty where it is enabled.
    """

    name: str
    about: str
    bands: tuple[Band, ...]
    witnesses: tuple[str, ...]
    absent: tuple[str, ...] = ()
    why_off: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What the configuration file will say.

    Args:
        interferometer: as `H1`.
        stream: of the strain.
        channel: full name of the strain.
        rate: of the strain, samples per second.
        state_vector: full name; None where there is none.
        witnesses: the streams that hold the couplings' witnesses beside the strain's own.
        couplings: those whose witnesses are there.
        past: the same in files of the past, where the strain is streamed; None: no files are known.
        port: of the metrics, as the published configuration has it; None where none is published.
        notes: what was not found, and what else could have been taken.
    """

    interferometer: str
    stream: Stream
    channel: str
    rate: int
    state_vector: str | None
    witnesses: tuple[Stream, ...] = ()
    couplings: tuple[ProposedCoupling, ...] = ()
    past: Proposal | None = None
    port: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def enabled(self) -> list[ProposedCoupling]:
        """The couplings that the file enables."""
        return [one for one in self.couplings if not one.why_off]

    @property
    def shared(self) -> Sequence[Span]:
        """The stretches without a gap that the files of strain and witnesses cover together."""
        return shared_stretches(self.stream, self.witnesses)

    def newest(self, seconds: int) -> Span:
        """Return the span that ends with the data and has so many seconds of them.

        It may have gaps. It is all of the time where that has less.
        """
        stretches, left = self.shared, seconds * NS
        for each in reversed(stretches):
            if each.duration >= left:
                return Span(each.end - left, stretches[-1].end)
            left -= each.duration
        return Span(stretches[0].start, stretches[-1].end)


def shared_stretches(stream: Stream, others: Iterable[Stream]) -> Sequence[Span]:
    """Return the stretches that a stream covers together with others, in order.

    Where they share no time these are the stream's own.
    """
    return intersection(stream.spans, *(each.spans for each in others)) or stream.spans


def propose(streams: Sequence[Stream], interferometer: str | None = None) -> Proposal:
    """Return which strain of some streams can be cleaned; no coupling is in it yet.

    A strain that shares time with witnesses is taken before one that does not.

    Args:
        streams: that were found.
        interferometer: that is wanted; None where there is only one.

    Raises:
        InputError: there is no strain, or that of several interferometers.
    """
    found = sorted(
        (
            (_rank(name), name, stream)
            for stream in streams
            for name, rate in stream.rates.items()
            if rate >= _LOWEST_RATE and _rank(name) is not None
        ),
        key=lambda each: each[:2],
    )
    sites = sorted({name.partition(":")[0] for _, name, _ in found})
    if interferometer is None and len(sites) > 1:
        raise InputError(f"strain of {', '.join(sites)}: name one with --ifo")
    wanted = interferometer or (sites[0] if sites else None)
    of_site = [each for each in found if each[1].startswith(f"{wanted}:")]
    if not of_site:
        raise InputError(_no_strain(streams, wanted))
    of_site.sort(key=lambda each: not _has_witnesses(each[2], streams, f"{wanted}:"))
    _, channel, stream = of_site[0]
    site = channel.partition(":")[0]
    state = _state_vector(site, stream)
    made = Proposal(site, stream, channel, stream.rates[channel], state)
    others = dict.fromkeys(f"{name} in {each.name}" for _, name, each in of_site[1:])
    if others:
        made.notes.append(f"also there, and not taken: {'; '.join(others)}")
    if state is None:
        made.notes.append(
            f"no state vector beside {channel}: all of its time counts as ready for analysis"
        )
    unreadable = [f"{each.name}: {each.fault}" for each in streams if each.fault]
    made.notes.extend(f"could not be read: {each}" for each in unreadable)
    return made


def of_its_time(proposal: Proposal, streams: Sequence[Stream]) -> list[Stream]:
    """Return the streams that share time with the strain; a note names the others.

    Where none with witnesses does, all are returned.
    """
    own, site = proposal.stream, f"{proposal.interferometer}:"
    if not _has_witnesses(own, streams, site):
        proposal.notes.append(f"no witnesses are of the time of the strain, {_time(own)}")
        return list(streams)
    kept = [each for each in streams if intersection(each.spans, own.spans)]
    for each in streams:
        if each not in kept and _holds_witnesses(each, site):
            proposal.notes.append(
                f"{each.name} ({_time(each)}) is of another time than the strain ({_time(own)}) "
                "and not taken"
            )
    return kept


def _has_witnesses(strain: Stream, streams: Iterable[Stream], site: str) -> bool:
    """Return whether a strain shares time with a stream that holds witnesses of its site."""
    return any(
        _holds_witnesses(each, site) and intersection(each.spans, strain.spans) for each in streams
    )


def _holds_witnesses(stream: Stream, site: str) -> bool:
    return any(name.startswith(site) and may_witness(name) for name in stream.rates)


def _time(stream: Stream) -> str:
    return f"GPS {stream.spans[0].start // NS} to {stream.spans[-1].end // NS}"


def _rank(name: str) -> int | None:
    """Return the place of a channel among strains, 0 first; None where it is no strain."""
    _, _, short = name.partition(":")
    if short in _STRAINS:
        return _STRAINS.index(short)
    if not _LOOKS.search(short) or _CLEANED.search(short) or "STATE_VECTOR" in short:
        return None
    return len(_STRAINS)


def _no_strain(streams: Iterable[Stream], wanted: str | None) -> str:
    return f"no strain channel{f' of {wanted}' if wanted else ''} found in: {_looked(streams)}"


def _looked(streams: Iterable[Stream]) -> str:
    said = (f"{each.name} ({each.fault or f'{len(each.rates)} channels'})" for each in streams)
    return "; ".join(said) or "no files"


def _state_vector(site: str, stream: Stream) -> str | None:
    named = [f"{site}:{name}" for name in _STATES]
    like = [name for name in stream.rates if name.startswith(site) and "STATE_VECTOR" in name]
    return next((name for name in (*named, *sorted(like)) if name in stream.rates), None)


def with_published(proposal: Proposal, published: Config, streams: Sequence[Stream]) -> Proposal:
    """Return the proposal with the published couplings that have a quarter of their witnesses.

    Of couplings whose bands overlap, the one with most witnesses there is enabled.
    """
    rates = _rates(streams)
    made: list[ProposedCoupling] = []
    without: list[str] = []
    for name, coupling in published.couplings.items():
        there = tuple(one for one in coupling.witnesses if one in rates)
        absent = tuple(one for one in coupling.witnesses if one not in rates)
        if len(there) < _ENOUGH * len(coupling.witnesses):
            without.append(f"{name} {len(there)} of {len(coupling.witnesses)}")
        else:
            made.append(ProposedCoupling(name, coupling.about, coupling.bands, there, absent))
    if without:
        said = "published couplings with too few of their witnesses here: "
        proposal.notes.append(said + ", ".join(without))
    # The most witnesses first. A tie goes to the one that the published configuration enables.
    order = sorted(made, key=lambda one: (-len(one.witnesses), not _on(published, one.name)))
    taken: dict[str, ProposedCoupling] = {}
    for one in order:
        rival = next((t for t in taken.values() if not t.why_off and _overlap(t, one)), None)
        why = f"its band overlaps with that of {rival.name}" if rival else _too_high(one, proposal)
        taken[one.name] = replace(one, why_off=why)
    proposal = replace(proposal, port=published.metrics.port)
    return with_only(proposal, tuple(taken[one.name] for one in made), streams)


def with_coupling(
    proposal: Proposal, coupling: ProposedCoupling, streams: Sequence[Stream]
) -> Proposal:
    """Return the proposal with one more coupling, in place of those whose bands overlap with it."""
    kept = tuple(one for one in proposal.couplings if not _overlap(one, coupling))
    return with_only(proposal, (*kept, coupling), streams)


def with_only(
    proposal: Proposal, couplings: tuple[ProposedCoupling, ...], streams: Sequence[Stream]
) -> Proposal:
    """Return the proposal with some of its couplings."""
    return replace(proposal, couplings=couplings, witnesses=_needed(proposal, couplings, streams))


def past_of(proposal: Proposal, streams: Sequence[Stream]) -> Proposal:
    """Return what a proposal for streamed channels says of the files that hold their past.

    Args:
        proposal: says the channels.
        streams: of files.

    Raises:
        InputError: no file holds the strain at its rate.
    """
    channel = proposal.channel
    held = (each for each in streams if each.rates.get(channel) == proposal.rate)
    stream = next(held, None)
    if stream is None:
        raise InputError(f"no {channel} at {proposal.rate} Hz in {_looked(streams)}")
    return with_only(replace(proposal, stream=stream), proposal.couplings, streams)


def may_witness(name: str) -> bool:
    """Return whether a channel may be a witness: it is no strain, product or state vector."""
    _, _, short = name.partition(":")
    return not (_LOOKS.search(short) or _CLEANED.search(short) or "STATE_VECTOR" in short)


def _rates(streams: Iterable[Stream]) -> Mapping[str, int]:
    return {name: rate for each in streams for name, rate in each.rates.items()}


def _on(published: Config, name: str) -> bool:
    return published.couplings[name].enabled


def _overlap(one: ProposedCoupling, other: ProposedCoupling) -> bool:
    return any(a[0] < b[1] and b[0] < a[1] for a in one.bands for b in other.bands)


def _too_high(one: ProposedCoupling, proposal: Proposal) -> str:
    # The bandpass needs some Hz above the band below the strain's Nyquist frequency.
    least = 2 * (max(high for _, high in one.bands) + BandpassConfig().transition)
    return f"the strain has {proposal.rate} Hz only" if proposal.rate < least else ""


def _needed(
    proposal: Proposal, couplings: Collection[ProposedCoupling], streams: Sequence[Stream]
) -> tuple[Stream, ...]:
    """Return the streams that hold witnesses which the strain's own stream does not."""
    wanted = {name for one in couplings for name in (*one.witnesses,)}
    wanted -= set(proposal.stream.rates)
    needed: list[Stream] = []
    for stream in streams:
        if stream is not proposal.stream and wanted & set(stream.rates):
            needed.append(stream)
            wanted -= set(stream.rates)
    # Where other directories are named, the strain's own is not searched for witnesses.
    own = {name for one in couplings for name in one.witnesses} & set(proposal.stream.rates)
    return (proposal.stream, *needed) if needed and own else tuple(needed)
