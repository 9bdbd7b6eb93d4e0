"""A network of another package: found by its entry point, imported where the configuration says so.

The package is the one of docs/architectures.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deepclean.config import Config, load
from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.errors import ConfigError, ModelError
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.models import files, loading, packaged
from deepclean.models.manifest import Channel, Description
from deepclean.models.networks import build
from deepclean.models.store import versions
from deepclean.models.tensors import Scalers
from tests.helpers import training_site as toy
from tests.helpers.built_packages import type_line
from tests.helpers.site_runs import COMMAND, OUT_DQ, is_written, stop, until

PAGE = (Path(__file__).parents[2] / "docs" / "architectures.md").read_text()
NAME = "deepclean-products:products"
MODULE = "deepclean_products"


def block(language: str) -> str:
    """Return the page's one code block of a language."""
    (found,) = [part.split("```")[0] for part in PAGE.split(f"```{language}\n")[1:]]
    return found


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package on the path as an installer leaves it, in a process that imported nothing."""
    place = tmp_path / "packages"
    info = place / "deepclean_products-1.0.dist-info"
    info.mkdir(parents=True)
    (place / f"{MODULE}.py").write_text(block("python"))
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deepclean-products\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        f"[{packaged.GROUP}]\n"
        f"products = {MODULE}:Products\nlate = {MODULE}:Late\nno = {MODULE}:nn\n"
    )
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(packaged, "_admitted", set())
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return place


def test_what_no_configuration_names_is_not_imported(installed: Path) -> None:
    with pytest.raises(ModelError, match=f"add {NAME} to models.architectures"):
        build({"name": NAME}, 2)
    assert MODULE not in sys.modules
    packaged.admit([NAME])
    assert MODULE not in sys.modules  # nothing has asked for it
    network = build({"name": "DeepClean_Products:products", "taps": 5}, 2)
    assert network(torch.zeros(1, 2, 64)).shape == (1, 64)
    with pytest.raises(ModelError, match="unknown 'tap'; did you mean taps"):
        build({"name": NAME, "tap": 5}, 2)
    with pytest.raises(ModelError, match="the network cannot be made: TypeError: "):
        build({"name": NAME, "taps": "five"}, 2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deepclean-absent:products", "the package deepclean-absent is not installed"),
        ("deepclean-products:product", "offers no product; did you mean products?"),
        ("deepclean-products:late", "deepclean-products 1.0 cannot be imported: .*Late"),
        ("deepclean-products:no", "deepclean_products:nn is no torch.nn.Module"),
        ("numpy:products", "offers no products"),
    ],
)
def test_what_is_missing_is_said(installed: Path, name: str, said: str) -> None:
    packaged.admit([name])
    with pytest.raises(ModelError, match=said):
        build({"name": name}, 2)


def test_a_stored_model_runs_where_the_configuration_names_it(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = f"models.architectures=[{NAME!r}]"
    config = toy.toy_config(tmp_path, named)
    packaged.admit(config.models.architectures)
    architecture = {"name": NAME, "products": 2, "taps": 9}
    description = Description(
        interferometer="H1",
        coupling="30Hz",
        version=1,
        architecture=architecture,
        strain=Channel(name=toy.STRAIN, rate=512),
        channels=(Channel(name=toy.LINE), Channel(name=toy.MOTION)),
        sample_rate=256,
        bands=((25.0, 35.0),),
        kernel=512,
        edge=64,
    )
    scalers = Scalers(np.zeros(2), np.ones(2), 0.0, 1.0)
    path = files.write_model(config.models.directory, build(architecture, 2), scalers, description)
    versions.set_pointer(path.parent, "production", 1)
    (model,) = loading.load_models(config).values()
    assert (model.period, tuple(model.reach or ())) == (1, (4, 4))
    # In another process the store alone decides nothing.
    monkeypatch.setattr(packaged, "_admitted", set())
    with pytest.raises(ModelError, match=r"add .* to models\.architectures"):
        loading.load_models(toy.toy_config(tmp_path))
    # A new version of the package that computes something else is refused.
    source = installed / f"{MODULE}.py"
    source.write_text(source.read_text().replace("product.sum(1)", "product.mean(1)"))
    monkeypatch.delitem(sys.modules, MODULE)
    with pytest.raises(ModelError, match="golden"):
        loading.load_models(config)


@pytest.mark.parametrize(
    "name", ["products", ":products", "deepclean-products:", "a b:c", "../a:b"]
)
def test_a_name_without_package_is_a_fault_of_the_configuration(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write it like deepclean-mine:gru"):
        toy.toy_config(tmp_path, f"models.architectures=[{name!r}]")


def run_live(config: Config, command: str, env: dict[str, str], seconds: range, last: int) -> None:
    """Run the page's command while frames arrive, the toy's first ones again, until `last`."""
    place, strain = config.output.directory.parent, config.input.strain_frames.directory
    log, made = place / "log", toy.channels(toy.SECONDS)
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*COMMAND, *command.split()[1:]], cwd=place, stderr=written, env=env
        )
    try:
        until(lambda: "cleaning from GPS" in log.read_text(), process)
        for number, second in enumerate(seconds):
            span, held = Span.of_seconds(second, 1), {}
            for name, rate in toy.RATES.items():
                part = np.ascontiguousarray(made[name][number * rate : (number + 1) * rate])
                held[name] = OutputChannel(Series(span, rate, part))
            gwf.publish(strain / f"H-H1_llhoft-{second}-1.gwf", gwf.serialise(span, held))
        until(lambda: is_written(config, last), process)
        stop(process)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_the_page_from_the_package_to_cleaned_frames(tmp_path: Path) -> None:
    package, packages = tmp_path / "deepclean-products", tmp_path / "packages"
    package.mkdir()
    (package / "pyproject.toml").write_text(block("toml"))
    (package / f"{MODULE}.py").write_text(block("python"))
    assert "    pip install --no-deps ./deepclean-products\n" in PAGE
    here = "--no-build-isolation --quiet --target packages"  # no environment is changed
    type_line(tmp_path, f"pip install --no-deps {here} ./deepclean-products")
    config = toy.toy_config(tmp_path)
    made = toy.channels(toy.SECONDS)
    toy.write(config, made)
    site = (tmp_path / "toy.yaml").read_text()
    plain = site.replace("models: {directory: models}\n", "").partition("training:")[0]
    named = block("yaml").replace("models:\n", "models:\n  directory: models\n")
    own = "  window: 4\n  batch_size: 4\n  epochs: 6\n  device: cpu\n  seed: 5\n"
    file = tmp_path / "H1.yaml"
    file.write_text(plain + "metrics: {enabled: false}\n" + named + own)
    commands = [line[4:] for line in PAGE.splitlines() if line.startswith("    deepclean ")]
    train, show, run = commands[-3:]
    where = {"PYTHONPATH": f"{packages}{os.pathsep}{Path(__file__).parents[2]}"}
    module = "python -P -m deepclean"
    said = type_line(tmp_path, train.replace("deepclean", module, 1), **where)
    assert "standard errors beyond the closed form" in said
    assert NAME in type_line(tmp_path, show.replace("deepclean", module, 1), **where)
    config = load(file, environ={})
    versions.set_pointer(config.models.directory / "H1" / "30Hz", "production", 1)

    first, last = toy.START + toy.SECONDS, toy.START + toy.SECONDS + 6
    run_live(config, run, {**os.environ, **where}, range(first, last + 2), last)
    frame = config.output.directory / f"H-H1_DEEPCLEAN-{last - 1}-1.gwf"
    read = gwf.read(frame, [OUT_DQ.replace("_OUT_DQ", ""), "H1:DEEPCLEAN-30HZ_MODEL_VERSION"])
    cleaned, version = read.values()
    assert isinstance(cleaned, Series)
    assert isinstance(version, Series)
    assert set(version.samples) == {1}
    made = toy.channels(toy.SECONDS)
    floor, raw = (made[name][5 * 512 : 6 * 512] for name in ("floor", toy.STRAIN))
    assert np.std(cleaned.samples - floor) < 0.6 * np.std(raw - floor)
