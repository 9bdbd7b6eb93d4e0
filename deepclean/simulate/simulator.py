"""The samples of a simulated site: any channel over any span, always the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

import numpy as np

from deepclean.core.block import Float64, Samples, Series
from deepclean.core.time import NS, Span, index_from
from deepclean.errors import InputError, hint
from deepclean.simulate.background import CurveBackground, FileBackground, curve_floor
from deepclean.simulate.envelope import band_envelope, interpolated, line_envelope, phasor, wander
from deepclean.simulate.injection import injected
from deepclean.simulate.noise import Stream, remembered, white
from deepclean.simulate.site import (
    STATE_RATE,
    Hum,
    Line,
    SimulatedCoupling,
    SimulatedWitness,
    Site,
    Term,
)

LOCKED = 0b111
"""State vector of a locked site: h(t) ok, observation intent, observation ready."""


class Simulator:
    """Computes the channels of a site, and the components of its strain.

    Samples depend on the site and on GPS time alone. A span read in one piece, in many pieces or
    backwards holds the same numbers bit for bit. Whole GPS seconds are computed and then cut.

    Args:
        site: the description.

    Attributes:
        site: the description.
        rates: every channel's rate in Hz by full name, the truth's included.

    Raises:
        ConfigError: the noise curve does not exist.
        InputError: the background's file cannot be used.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.rates: Mapping[str, int] = site.channels | site.truth
        self._background = _background(site)
        self._motions = {
            motion.name: wander(site.seed, self._key(motion.name), motion.frequency, motion.width)
            for motion in site.motions
        }
        self._envelopes = {carrier.name: self._envelope(carrier) for carrier in site.carriers}
        self._frequencies = {carrier.name: carrier.frequency for carrier in site.carriers}
        self._carrier_at = cache(self._carrier)
        self._streams = self._truth()
        self._streams[site.strain] = self._strain(list(self._streams.values()))
        self._streams[site.state] = self._state
        self._streams |= {witness.channel: self._witness(witness) for witness in site.witnesses}

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series]:
        """Return channels over a span.

        Args:
            wanted: full names of channels of the frames or of the truth.
            span: any span that starts and ends on a sample of each channel.

        Returns:
            The channels by name: strain and truth float64, witnesses float32, state vector uint32.

        Raises:
            InputError: the site has no such channel, or its background file does not cover the
                span.
            ValueError: the span starts or ends between samples.
        """
        absent = [name for name in wanted if name not in self._streams]
        if absent:
            named = ", ".join(absent) + hint(absent[0], self._streams)
            raise InputError(
                f"simulated site {self.site.ifo} has no channel {named}", channels=absent
            )
        seconds = range(span.start // NS, -(-span.end // NS))
        whole = Span.of_seconds(seconds.start, len(seconds))
        parts: dict[str, list[Samples]] = {name: [] for name in wanted}
        for second in seconds:  # the outer loop, so that channels share the cached sources
            for name, part in parts.items():
                part.append(self._streams[name](second))
        return {
            name: Series(whole, self.rates[name], np.concatenate(part)).cut(span)
            for name, part in parts.items()
        }

    def require(self, span: Span) -> None:
        """Raise InputError unless the site is defined over the whole span."""
        self._background.require(span)

    def floor(self, coupling: SimulatedCoupling) -> float:
        """Return the noise curve's ASD in the middle of a coupling's band, in 1/sqrt(Hz)."""
        return curve_floor(self.site.curve, coupling.band)

    def _key(self, name: str) -> str:
        return f"{self.site.ifo}:{name}"

    def _envelope(self, carrier: Line | Hum) -> Stream:
        seed, key = self.site.seed, self._key(carrier.name)
        if isinstance(carrier, Hum):
            return band_envelope(seed, key, carrier.width)
        return line_envelope(seed, key, carrier.amplitude, carrier.phase, carrier.wander)

    def _truth(self) -> dict[str, Stream]:
        """Return the components of the strain, by their names in the truth."""
        site = self.site
        streams = [self._background.stream]
        streams += [remembered(self._noise(coupling), 1) for coupling in site.couplings]
        if site.injections:
            streams.append(remembered(injected(site.injections, site.rate), 1))
        return dict(zip(site.truth, streams, strict=True))

    def _strain(self, parts: list[Stream]) -> Stream:
        def make(second: int) -> Float64:
            total = parts[0](second).copy()
            for part in parts[1:]:
                total += part(second)
            return total

        return make

    def _noise(self, coupling: SimulatedCoupling) -> Stream:
        """Return the noise of a coupling (see the equation in `SimulatedCoupling`)."""
        frequency = self._frequencies[coupling.carrier]
        carrier = self._envelopes[coupling.carrier]
        bilinear = [(self._motions[name], strength) for name, strength in coupling.bilinear]
        size = self.floor(coupling) * np.exp(1j * coupling.phase)

        def envelope(second: int) -> Samples:
            modulation = np.full(carrier(second).size, coupling.linear)
            for motion, strength in bilinear:
                modulation += strength * motion(second)
            drive: Samples = size * carrier(second) * modulation
            return drive

        fine = interpolated(remembered(envelope, 4), self.site.rate, coupling.delay)
        turning = phasor(frequency, self.site.rate, coupling.delay)
        return lambda second: _real(fine(second), turning)

    def _witness(self, witness: SimulatedWitness) -> Stream:
        motions = [
            (self._motions[term.source], term.gain)
            for term in witness.terms
            if term.source in self._motions
        ]
        carriers = [
            (self._carrier_at(term.source, witness.rate), term)
            for term in witness.terms
            if term.source in self._envelopes
        ]
        own = white(self.site.seed, witness.channel, witness.rate, np.float32)
        slow = interpolated(_mixed(motions), witness.rate) if motions else None
        scale = np.float32(witness.noise * np.sqrt(witness.rate / 2))

        def make(second: int) -> Samples:
            samples = own(second) * scale
            if slow is not None:
                samples += slow(second).astype(np.float32)
            for carrier, term in carriers:
                samples += _seen(carrier(second), term)
            return samples

        return make

    def _carrier(self, name: str, rate: int) -> Stream:
        """Return a carrier at a rate, in complex single precision. Witnesses share it."""
        fine = interpolated(self._envelopes[name], rate)
        turning = phasor(self._frequencies[name], rate)
        return remembered(lambda second: (fine(second) * turning).astype(np.complex64), 1)

    def _state(self, second: int) -> Samples:
        bits = np.full(STATE_RATE, LOCKED, dtype=np.uint32)
        start = second * STATE_RATE
        for unlock in self.site.unlocks:
            first = unlock.start * STATE_RATE // NS - start  # the sample at or before the start
            last = index_from(unlock.end, STATE_RATE) - start
            bits[max(first, 0) : max(last, 0)] = 0
        return bits


def _background(site: Site) -> CurveBackground | FileBackground:
    if site.background is None:
        return CurveBackground(site.curve, site.rate, site.seed, site.strain)
    background = FileBackground(site.background, site.background_channel)
    if background.rate != site.rate:
        raise InputError(
            f"is at {background.rate} Hz where the site's strain is at {site.rate} Hz",
            path=site.background,
            channels=[site.background_channel],
        )
    return background


def _mixed(parts: list[tuple[Stream, float]]) -> Stream:
    """Return the weighted sum of coarse signals."""

    def make(second: int) -> Float64:
        first, gain = parts[0]
        total = gain * first(second)
        for part, gain in parts[1:]:
            total += gain * part(second)
        return total

    return make


def _real(envelope: Samples, turning: Samples) -> Float64:
    """Return the real part of the product, without computing the imaginary part."""
    product: Float64 = envelope.real * turning.real - envelope.imag * turning.imag
    return product


def _seen(carrier: Samples, term: Term) -> Samples:
    """Return a carrier rotated and scaled, as a witness sees it."""
    turned = term.gain * np.exp(1j * term.phase)
    return np.float32(turned.real) * carrier.real - np.float32(turned.imag) * carrier.imag
