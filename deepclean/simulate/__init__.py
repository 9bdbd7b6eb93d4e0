"""A simulated site with a known truth.

A `Site` describes an interferometer: the background in its strain, the disturbances, and the
auxiliary channels that witness them. A `Simulator` computes its channels, and the truth beside
them, as a function of GPS time. `write_history` and `stream` write them to disk as a real site
does, with the requested faults.
"""

from deepclean.simulate.compose import compose
from deepclean.simulate.configured import site_of
from deepclean.simulate.faults import Fault, random_faults
from deepclean.simulate.files import Layout
from deepclean.simulate.history import write_history
from deepclean.simulate.injection import Injection
from deepclean.simulate.simulator import Simulator
from deepclean.simulate.site import Site
from deepclean.simulate.stream import Pace, stream
from deepclean.simulate.variants import on_background, with_dummies

__all__ = [
    "Fault",
    "Injection",
    "Layout",
    "Pace",
    "Simulator",
    "Site",
    "compose",
    "on_background",
    "random_faults",
    "site_of",
    "stream",
    "with_dummies",
    "write_history",
]
