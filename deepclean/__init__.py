"""DeepClean production: low-latency removal of witnessed noise from gravitational-wave strain."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("deepclean-production")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
