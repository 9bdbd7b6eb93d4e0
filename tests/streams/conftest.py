"""Tests against the real Arrakis and SGN, which run in the environment that has them."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path

if importlib.util.find_spec("arrakis") is None:
    # test_environment.py says so; the others import the clients.
    collect_ignore_glob = ["test_[!e]*.py"]
else:
    # gpstime, which the clients import, fetches a table of leap seconds unless one is in force.
    _cache = Path(tempfile.gettempdir()) / f"deepclean-tests-gpstime-{os.getuid()}"
    (_cache / "gpstime").mkdir(parents=True, exist_ok=True)
    # All since GPS 0: each that lacks makes the clients' and the servers' GPS time a second wrong.
    _june = (1981, 1982, 1983, 1985, 1992, 1993, 1994, 1997, 2012, 2015)
    _december = (1987, 1989, 1990, 1995, 1998, 2005, 2008, 2016)
    _leaps = [f"{year} Jun 30" for year in _june] + [f"{year} Dec 31" for year in _december]
    (_cache / "gpstime" / "leapseconds").write_text(
        "#expires 4102444800\n" + "".join(f"Leap {day} 23:59:60 + S\n" for day in sorted(_leaps))
    )
    os.environ["XDG_CACHE_HOME"] = str(_cache)
