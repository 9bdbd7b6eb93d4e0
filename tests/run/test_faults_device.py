"""Faults of the device that networks run on (docs/faults.md), as torch reports them."""

from __future__ import annotations

import logging

import pytest
import torch

from deepclean.config import Config
from deepclean.core import reasons
from deepclean.errors import DeviceError
from deepclean.models.device import CpuFallback, with_cpu_fallback
from deepclean.models.loading import load_models
from tests.helpers import small_site as site
from tests.helpers.faultsite import (
    LOST,
    SHORT,
    assert_sound,
    at_calls,
    cleaned,
    failing,
    real,
    sound_run,
    touched,
)
from tests.helpers.metrics_run import Run
from tests.helpers.small_site import START


def test_out_of_memory_runs_on_the_spare(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    device = at_calls(real(config), range(8, 12), failing(SHORT))
    run = Run(config, CpuFallback("60Hz", device, real(config)))
    with caplog.at_level(logging.INFO, logger="deepclean.models.device"):
        run.over(20)
    assert cleaned(assert_sound(run, range(20))) == list(range(1, 19))
    said = [r.levelname for r in caplog.records if r.name == "deepclean.models.device"]
    assert said == ["WARNING", "INFO"]


def test_the_spare_is_the_same_network(config: Config) -> None:
    (model,) = load_models(config).values()
    witnesses = torch.randn(1, 3, 512, generator=torch.Generator().manual_seed(25))
    with_spare = with_cpu_fallback(model)
    expected = model.predict(witnesses)
    assert torch.equal(with_spare(witnesses), expected)
    for parameter in model.network.parameters():
        parameter.data.fill_(torch.nan)  # the spare has its own
    spare = CpuFallback("60Hz", failing(SHORT), with_spare._spare)  # type: ignore[attr-defined]
    assert torch.equal(spare(witnesses), expected)


def test_out_of_memory_everywhere_lets_the_strain_pass(config: Config) -> None:
    device = at_calls(real(config), range(8, 12), failing(SHORT))
    run, held = sound_run(config, 24, network=device)
    assert run.cleaning.ledger.written[reasons.MODEL_ERROR] == len(touched(held)) > 0
    assert set(range(16, 23)) <= set(cleaned(held))


def test_other_errors_are_not_for_the_spare(config: Config) -> None:
    network = CpuFallback("60Hz", failing(RuntimeError("a bug")), real(config))
    with pytest.raises(RuntimeError, match="a bug"):
        network(torch.zeros(1, 3, 512))


def test_a_lost_device_ends_the_process_with_every_frame_out(config: Config) -> None:
    """The next process goes on where this one ended, with a new context."""
    run = Run(config, at_calls(real(config), range(12, 10_000), failing(LOST)))
    with pytest.raises(DeviceError, match="60Hz: the device is lost: CUDA error: an illegal"):
        run.over(24)
    ledger = run.cleaning.ledger
    assert ledger.balanced
    assert ledger.inside == 0
    ended = ledger.written.total()
    assert ended < 20
    assert ledger.written[reasons.MODEL_ERROR] > 0
    site.write_site(config, START, 24)
    again = Run(config)
    again.until(0)
    held = assert_sound(again, range(24))
    assert again.cleaning.ledger.frames_in == 24 - ended
    assert set(range(ended, 23)) <= set(cleaned(held))
