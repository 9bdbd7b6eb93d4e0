"""What a model was trained on: data that it has seen says little of data that it has not."""

from __future__ import annotations

from collections.abc import Sequence

from deepclean.core.time import Span
from deepclean.models.directory import MANIFEST
from deepclean.models.load import Model
from deepclean.models.manifest import Manifest


def trained_on(model: Model) -> list[Span] | None:
    """Return the spans that a model's manifest names; None: it names none.

    Those of the versions that it was fine-tuned from are not among them.
    """
    path = model.path / MANIFEST
    if not path.is_file():  # a training directory of deepcleanv2
        return None
    spans = Manifest.parse(path.read_bytes(), path).training
    if not spans:
        return None
    return [Span(start, end) for start, end in spans]


def shared(counting: Sequence[Span], spans: Sequence[Span]) -> float:
    """Return which share of the counting time lies in some spans, none of which overlap."""
    both = sum(part.duration for one in counting for other in spans if (part := one.overlap(other)))
    return both / sum(span.duration for span in counting)
