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
    _cache = Path(tempfile.gettempdir()) / f"deepclean-tests-leap-seconds-{os.getuid()}"
    (_cache / "gpstime").mkdir(parents=True, exist_ok=True)
    (_cache / "gpstime" / "leapseconds").write_text(
        "#expires 4102444800\nLeap 2016 Dec 31 23:59:60 + S\n"
    )
    os.environ["XDG_CACHE_HOME"] = str(_cache)
