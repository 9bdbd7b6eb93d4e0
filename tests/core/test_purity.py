"""The core is pure, light modules stay light, and no test reaches the network."""

import ast
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "deepclean"
CORE_MODULES = sorted((PACKAGE / "core").rglob("*.py"))

ALLOWED = (
    "__future__ bisect collections dataclasses decimal enum fractions functools itertools math "
    "re typing zlib.crc32 igwn_segments numpy scipy torch deepclean.core deepclean.errors"
).split()
REFUSED = "numpy.random scipy.datasets scipy.io torch.distributed torch.hub torch.jit".split()
REFUSED_CALLS = "__import__ breakpoint eval exec input open print".split()
REFUSED_ATTRIBUTES = {
    f"{library}.{name}"
    for library in ("np", "numpy", "torch")
    for name in "fromfile load loadtxt memmap random save savetxt savez".split()
} | {"scipy.datasets", "scipy.io"}


def impurities(source: str) -> Iterator[str]:
    """Yield what a core module imports or does that a pure one does not."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (f"imports {name.name}" for name in names if not _allowed(name.name))
            case ast.ImportFrom(module, names, level):
                full = [f"{'.' * level}{module or ''}.{name.name}" for name in names]
                yield from (f"imports {name}" for name in full if not _allowed(name))
            case ast.Call(ast.Name(name)) if name in REFUSED_CALLS:
                yield f"calls {name}()"
            case ast.Attribute() if (name := ast.unparse(node)) in REFUSED_ATTRIBUTES:
                yield f"uses {name}"
            case ast.Attribute(attr="tofile"):
                yield "uses tofile"


def _allowed(name: str) -> bool:
    return _is_in(name, ALLOWED) and not _is_in(name, REFUSED)


def _is_in(name: str, packages: list[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", CORE_MODULES, ids=lambda path: path.stem)
def test_core_module_is_pure(path: Path) -> None:
    found = [f"{path.relative_to(PACKAGE.parent)} {what}" for what in impurities(path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import numpy as np, time",
        "from deepclean.io import gwf",
        "from deepclean import config",
        "from ..edge import gwf",
        "from contextlib import suppress",
        "from scipy import io",
        "import torch.hub",
        "def late():\n    from pathlib import Path",
        "if TYPE_CHECKING:\n    import logging",
        "print(1)",
        "with open('x') as file: pass",
        "np.load('x')",
        "scipy.io.loadmat('x')",
        "noise = np.random.default_rng()",
        "samples.tofile('x')",
    ],
)
def test_impurity_is_seen(source: str) -> None:
    assert len(list(impurities(source))) == 1


def test_pure_source_passes() -> None:
    source = (
        "from __future__ import annotations\n"
        "from collections.abc import Sequence\n"
        "import numpy as np\n"
        "from scipy.signal import firwin\n"
        "from deepclean import errors\n"
        "from deepclean.core.time import Span\n"
        "model.load(np.zeros(3))\n"
    )
    assert list(impurities(source)) == []


def modules_after(statements: str) -> list[str]:
    """Return the modules that a fresh interpreter holds after running `statements`."""
    script = f"import sys\n{statements}\nprint()\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


HELP = """
from deepclean.cli import main
sys.argv = ["deepclean", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code
"""
OUTSIDE = "deepclean.io gwframe gwpy h5py lal prometheus_client".split()
HEAVY = "gwpy lal lalsimulation matplotlib scipy.signal torch".split()
SLOW = "gwpy lal matplotlib scipy.signal scipy.stats".split()
ENGINE = "deepclean.core.engine torch".split()


@pytest.mark.parametrize(
    ("statements", "refused"),
    [
        pytest.param("import deepclean.core.engine.engine", OUTSIDE, id="engine"),
        pytest.param(f"import deepclean.config, deepclean.io.gwf\n{HELP}", HEAVY, id="light"),
        pytest.param("import deepclean.run.daemon, deepclean.worker", SLOW, id="daemon"),
        pytest.param(
            "import deepclean.io.live.source, deepclean.io.live.strain_files, deepclean.io.source",
            ENGINE,
            id="sources",
        ),
    ],
)
def test_import_stays_light(statements: str, refused: list[str]) -> None:
    assert [name for name in modules_after(statements) if _is_in(name, refused)] == []


def test_network_is_refused() -> None:
    # Connecting a datagram socket sends nothing, should the guard not stand.
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        pytest.raises(pytest.fail.Exception, match="network"),
    ):
        sender.connect(("192.0.2.1", 9))


def test_loopback_is_not_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
