"""A site's past, written at once."""

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
    """Write the files of a span as fast as they can be made.

    Args:
        simulator: of the site.
        layout: where the files go.
        span: whole GPS seconds.
        faults: what goes wrong; not when files appear, they appear at once.

    Returns:
        An iterator that writes; each file's path comes out once the file is complete. What is
        wrong with the arguments is raised before it starts.

    Raises:
        ConfigError: the span does not start and end on whole seconds, or a wrong fault.
        InputError: the site is not defined over all of the span.
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
