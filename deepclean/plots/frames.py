"""Cleaned frames, the raw strain and the witnesses read into the numbers of the pictures.

The raw strain is `OUT_DQ` plus what was subtracted from it, where the frames hold that, else what
the source's frames hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.core import channels
from deepclean.core.channels import STATE_RATE
from deepclean.core.filters.bandpass import Band
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.channels import filled
from deepclean.io.history import History
from deepclean.plots.measure import CleanedStrain, SpanFigures, SpanMeter, step_of

MOST = 2048
"""Stretches that are read at most; of a longer span every second one is, or fewer."""

_OFFICIAL = "_DEEPCLEAN_PRODUCTION_OUT_DQ"


@dataclass(frozen=True, slots=True)
class PlotRequest:
    """What is to be drawn beside the strain.

    Args:
        bands: of each coupling, `(low, high)` in Hz.
        witnesses: full names of each coupling's witnesses.
    """

    bands: Mapping[str, Sequence[Band]] = field(default_factory=dict)
    witnesses: Mapping[str, Sequence[str]] = field(default_factory=dict)


class CleanedFrames:
    """Cleaned frames, and where the raw strain and the witnesses are.

    Args:
        paths: files of cleaned frames, and directories of them.
        raw: opens the history with the raw strain; asked only if the frames do not say what was
            subtracted.

    Attributes:
        strain: full name of the raw strain.
        span: the longest stretch that the frames cover without a gap.

    Raises:
        InputError: there are no cleaned frames.
    """

    def __init__(self, paths: Sequence[Path], raw: Callable[[], History]) -> None:
        self._frames, self._raw = History(paths), raw
        held = self._frames.channels()
        official = [name for name in held if name.endswith(_OFFICIAL)]
        if len(official) != 1:
            raise InputError(
                f"no cleaned frames: {len(official)} channels *{_OFFICIAL}", path=paths[0]
            )
        self.strain = official[0].removesuffix(_OFFICIAL)
        self.rate = held[official[0]]
        known = channels.product_names(self.strain, ["OUT_DQ", "PRODUCTION"])
        self._products = {product: name for product, name in known.items() if name in held}
        self._subtracted = channels.subtracted(self.strain)
        self._has_subtracted = self._subtracted in held
        self._state = channels.state_vector(self.strain.partition(":")[0])
        self._gains = {
            name.partition(":DEEPCLEAN-")[2].removesuffix("_GAIN"): name
            for name in held
            if ":DEEPCLEAN-" in name and name.endswith("_GAIN")
        }
        self.span = max(self._frames.spans(), key=lambda span: span.duration)

    def within(self, span: Span) -> Span:
        """Return the part of a span between its first cleaned frame and its last.

        Raises:
            InputError: there is none.
        """
        parts = [part for each in self._frames.spans() if (part := each.overlap(span))]
        if not parts:
            raise InputError(f"no cleaned frame of {span}")
        return Span(parts[0].start, parts[-1].end)

    def measure(
        self,
        span: Span,
        request: PlotRequest,
        witnesses: Callable[[], History],
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> SpanFigures:
        """Return the numbers of a span.

        Args:
            span: whole seconds.
            request: the bands, and the witnesses whose coherence is measured.
            witnesses: opens the history with the witnesses; asked only if there are any.
            progress: told the seconds that are done with each stretch.

        Raises:
            InputError: a channel or the raw strain is not there, or nothing that is finite.
        """
        raw = None if self._has_subtracted else self._raw()
        if raw is not None:
            raw.require([self.strain])
        names = sorted({name for held in request.witnesses.values() for name in held})
        aux = witnesses() if names else None
        rates = {} if aux is None else aux.require(names)
        step = step_of(span.duration // NS)
        meter = SpanMeter(self.rate, tuple(self._products), request.bands, request.witnesses)
        every = -(-span.duration // (step * NS * MOST)) * step * NS
        for start in range(span.start, span.end - step * NS + 1, every):
            part = Span(start, start + step * NS)
            meter.push(self._stretch(part, request, raw, aux, rates))
            progress(every / NS)
        return meter.finish(step)

    def _stretch(
        self,
        span: Span,
        request: PlotRequest,
        raw: History | None,
        aux: History | None,
        rates: Mapping[str, int],
    ) -> CleanedStrain:
        """Read a stretch."""
        wanted = [*self._products.values(), self._state, *self._gains.values()]
        if raw is None:
            wanted.append(self._subtracted)
        pieces = self._frames.pieces(wanted, span).pieces
        products = {
            product: filled(pieces[name], span, self.rate)
            for product, name in self._products.items()
        }
        if raw is None:
            before = products["OUT_DQ"] + filled(pieces[self._subtracted], span, self.rate)
        else:
            before = filled(raw.pieces([self.strain], span).pieces[self.strain], span, self.rate)
        heard = {} if aux is None else aux.pieces(list(rates), span).pieces
        return CleanedStrain(
            span.start // NS,
            self.rate,
            before,
            products,
            request.bands,
            {
                name: {each: filled(heard[each], span, rates[each]) for each in held}
                for name, held in request.witnesses.items()
            },
            {
                name: filled(pieces[channel], span, STATE_RATE)
                for name, channel in self._gains.items()
            },
            filled(pieces[self._state], span, STATE_RATE),
        )


def bands_of(texts: Iterable[Band]) -> dict[str, list[Band]]:
    """Return bands that a person names as couplings of one band each.

    >>> bands_of([(55.0, 65.0)])
    {'55-65 Hz': [(55.0, 65.0)]}
    """
    return {f"{low:g}-{high:g} Hz": [(low, high)] for low, high in texts}
