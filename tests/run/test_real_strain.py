"""Real LIGO strain with a merger in it, a simulated coupling on top, streamed live in real time.

With frames that wait for their look-ahead, and with frames that do not.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config, load
from deepclean.core.block import Float64, Series
from deepclean.core.channels import product_names
from deepclean.core.spectra import asd, band_ratio, worst_outside
from deepclean.core.time import Span
from deepclean.io.history import History
from deepclean.models import files as models
from deepclean.models.manifest import Description, Manifest
from deepclean.models.store import versions
from deepclean.simulate.injection import Injection
from tests.helpers.cbc_injection import matched_filter
from tests.helpers.site_runs import until

ROOT = Path(__file__).resolve().parents[2]
EVENT = "H-H1_LOSC_4_V2-1126259446-32.hdf5"
START, SECONDS = 1126259446, 32
COMMAND = [sys.executable, "-m", "deepclean"]


STRENGTH = 5.0
"""Times the demo's coupling, for Hanford's floor in 2015 was higher than the curve's."""


def publish_stronger(config: Config, shipped: Path) -> None:
    """Publish the shipped model as that of a coupling `STRENGTH` times as strong."""
    model = models.load(shipped)
    manifest = Manifest.parse((shipped / "manifest.json").read_bytes(), shipped)
    description = Description(**manifest.model_dump(include=set(Description.model_fields)))
    scalers = replace(
        model.scalers,
        strain_mean=STRENGTH * model.scalers.strain_mean,
        strain_std=STRENGTH * model.scalers.strain_std,
    )
    path = models.write_model(config.models.directory, model.network, scalers, description)
    versions.set_pointer(path.parent, "production", description.version)


Strains = dict[str, Float64]
WAITS = {"waiting": 1, "not waiting": 0}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> dict[str, Strains]:
    """Stream the file in real time through two daemons; return the strains over its middle."""
    place = tmp_path_factory.mktemp("real")
    file = place / "real.yaml"
    file.write_text(
        f"""
extends: {ROOT / "config" / "demo.yaml"}
strain: {{rate: 4096}}
input:
  strain: {{directory: {place}/strain, description: H1_llhoft}}
  witnesses: [{{directory: {place}/witnesses, description: H1_lldetchar}}]
models: {{directory: {place}/models}}
"""
    )
    publish_stronger(load(file), ROOT / "models" / "H1" / "60Hz" / "1")
    outputs = {name: place / name for name in WAITS}
    logs = [place / f"{name}.log" for name in WAITS]
    with ExitStack() as stack:
        daemons = []
        for log, (name, wait) in zip(logs, WAITS.items(), strict=True):
            chosen = {"couplings.60Hz.wait": wait, "output.directory": outputs[name]}
            settings = [f"--set={key}={value}" for key, value in chosen.items()]
            settings.append("--set=metrics.enabled=false")
            command = [*COMMAND, "run", "-c", str(file), *settings]
            stream = stack.enter_context(log.open("wb"))
            daemons.append(stack.enter_context(subprocess.Popen(command, stderr=stream)))
            stack.callback(daemons[-1].kill)
        for daemon, log in zip(daemons, logs, strict=True):
            until(lambda log=log: "look-ahead" in log.read_text(), daemon)  # type: ignore[misc]
        options = ["--live", "--motions", "3", "--seed", "5", "--strength", str(STRENGTH)]
        options += ["--background", str(test_data / EVENT), "--truth", str(place / "truth")]
        options += ["--start", str(START), "--end", str(START + SECONDS)]
        subprocess.run([*COMMAND, "simulate", "-c", str(file), *options], check=True)
        for daemon, output in zip(daemons, outputs.values(), strict=True):
            until(partial(is_streamed, output), daemon)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(timeout=60) == 0
    # The gate must have seen the coupling for a while; the merger is after that.
    span = Span.of_seconds(START + 12, SECONDS - 14)
    channel = load(file).strain.channel

    def read(directory: Path, name: str) -> Float64:
        series = History([directory]).read([name], span)[name]
        assert isinstance(series, Series), series
        return series.samples

    official = product_names(channel, ["OUT_DQ"])["OUT_DQ"]
    same = {
        "raw": read(place / "strain", channel),
        "real": read(place / "truth", "H1:TRUTH-BACKGROUND"),
    }
    return {name: {**same, "cleaned": read(outputs[name], official)} for name in WAITS}


def is_streamed(output: Path) -> bool:
    """Return whether every frame but the last is there."""
    return len(list(output.glob("*.gwf"))) >= SECONDS - 1


@pytest.fixture(params=list(WAITS))
def streamed(request: pytest.FixtureRequest, both: dict[str, Strains]) -> Strains:
    """The strains of a daemon that waits, and of one that does not."""
    return both[request.param]


BANDS = [(55.0, 65.0)]


@pytest.mark.slow
def test_band_returns_to_the_real_strains_own_level(streamed: Strains) -> None:
    raw = band_ratio(streamed["raw"], streamed["real"], 4096, BANDS)
    cleaned = band_ratio(streamed["cleaned"], streamed["real"], 4096, BANDS)
    print(f"in band: raw / real {raw:.3f}, cleaned / real {cleaned:.4f}")
    assert raw > 1.3
    assert cleaned == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_nothing_changes_out_of_band(streamed: Strains) -> None:
    worst = worst_outside(streamed["cleaned"], streamed["real"], 4096, BANDS, guard=6.0)
    print(f"out of band: worst bin cleaned / real {worst:.5f}")
    assert worst == pytest.approx(1.0, abs=0.005)


@pytest.mark.slow
def test_merger_keeps_its_signal_to_noise_ratio(streamed: Strains) -> None:
    frequencies, density = asd(streamed["real"], 4096)
    found = {
        name: matched_filter(strain, 4096, density, frequencies, Injection(0))
        for name, strain in streamed.items()
    }
    said = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    print(f"matched-filter signal-to-noise ratio: {said}")
    assert found["real"] > 15
    assert found["cleaned"] == pytest.approx(found["real"], rel=0.02)
