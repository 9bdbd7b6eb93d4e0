"""A site's history, written at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from deepclean.core.time import Span
from deepclean.errors import ConfigError
from deepclean.simulate.faults import KINDS, Fault
from deepclean.simulate.files import Layout, make_files, products
from deepclean.simulate.simulator import Simulator


def write_history(
    simulator: Simulator, layout: Layout, span: Span, *, faults: Sequence[Fault] = ()
) -> Iterator[Path]:
    """Write the files of a span as fast as possible.

    Args:
        simulator: of the site.
        layout: directories and lengths of the files.
        span: whole GPS seconds.
        faults: faults that do not concern the time at which files appear.

    Returns:
        An iterator that writes. It yields the path of each file when the file is complete. Faulty
        arguments raise before it starts.

    Raises:
        ConfigError: the span does not consist of whole seconds, or a fault is invalid.
        InputError: the site is not defined over the whole span.
        OutputError: the operating system refused.
    """
    timed = sorted({f.kind for f in faults if f.kind in KINDS and KINDS[f.kind].live})
    if timed:
        raise ConfigError(f"only a live stream (--live) can have the faults {', '.join(timed)}")
    making = make_files(simulator, products(simulator, layout), span, faults)

    def write() -> Iterator[Path]:
        for _, finished in making:
            for file in finished:
                file.publish()
                if file.appears:
                    yield file.path

    return write()
