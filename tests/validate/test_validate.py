"""Validation: what a report says of data whose truth is known, however it was made."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config, load
from deepclean.core.spectra import CrossSpectra, band_ratio, median_bias
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError
from deepclean.simulate.injection import Injection
from deepclean.validate import shards
from deepclean.validate.criteria import CRITERIA, judge, limits
from deepclean.validate.json_numbers import array
from deepclean.validate.report import html, serialise
from deepclean.validate.run import ValidationRequest, validate
from deepclean.validate.shard_result import Sampling, add_gap
from deepclean.validate.shards import ValidationRun
from deepclean.validate.signals import matched
from deepclean.validate.spectra import CLEANED, RAW, linear_limit
from tests.helpers import training_site as site
from tests.helpers.datafind_service import open_fetched, somewhere
from tests.helpers.training_site import (
    FLOOR,
    LINE,
    MOTION,
    SECONDS,
    START,
    STATE,
    STRAIN,
    channels,
    validated,
)

NOT_READY = (40, 48)
"""Seconds in which the source says that it does not observe."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    state = np.full(16 * SECONDS, 7, dtype=np.uint32)
    state[16 * NOT_READY[0] : 16 * NOT_READY[1]] = 0
    return site.make_site(tmp_path_factory.mktemp("site"), {STATE: state})


@pytest.fixture(scope="module")
def run(config: Config) -> dict[str, Any]:
    """Return the figures of the whole toy."""
    return dict(validated(config).report["runs"][0])


def test_time_is_accounted_for(run: dict[str, Any]) -> None:
    low, high = NOT_READY
    assert run["seconds"] == {
        "counted": SECONDS - 8.0,
        "left_out": {"not_ready": 8},
        "gaps": [[START + low, START + high, "not_ready"]],
    }
    assert sum(run["series"]["counted"]) == SECONDS - 8


def test_spectra_are_those_of_the_strain(run: dict[str, Any]) -> None:
    # White noise of `FLOOR` at 512 Hz; the line is 6 floors high, two thirds of a bin's power.
    spectra = run["spectra"]
    frequency = array(spectra["frequency"])
    quiet = (frequency > 50) & (frequency < 220)
    floor = FLOOR * np.sqrt(2 / 512)
    for product in ("RAW", "OUT_DQ", "PRODUCTION"):
        # The median of medians of few lies somewhat lower than the mean.
        median = array(spectra[product]["p50"])[quiet].mean()
        assert 0.93 * floor < median < 1.01 * floor
    low, high = (array(spectra["RAW"][p])[quiet].mean() for p in ("p5", "p95"))
    assert low < 0.8 * floor < 1.2 * floor < high
    at = int(np.flatnonzero(frequency == 30)[0])
    # A sine of amplitude A in a Hann window of 2 s: A^2/2 over 0.75 Hz. It does not fluctuate, so
    # that its median needs none of the correction that noise needs.
    line = np.sqrt((6 * FLOOR) ** 2 / 2 / 0.75 / median_bias(7) + floor**2)
    assert array(spectra["RAW"]["p50"])[at] == pytest.approx(line, rel=0.02, abs=0)
    assert array(spectra["PRODUCTION"]["p50"])[at] < 1.3 * floor


def test_ratio_is_that_of_welch_spectra(config: Config, run: dict[str, Any]) -> None:
    span = Span((START + 48) * NS, (START + 128) * NS)
    blocks = [frame.blocks[0] for frame in shards.OpenRun(site.run_of(config)).cleaned(span)]
    raw = channels(SECONDS, product=site.LINE_ONLY)[STRAIN][48 * 512 : 128 * 512]
    cleaned = np.concatenate([block.cleaned for block in blocks if block.cleaned is not None])
    expected = band_ratio(cleaned, raw, 512, [(25.0, 35.0)])
    ratio = run["couplings"]["30Hz"]["asd_ratio"]
    for product in ("OUT_DQ", "PRODUCTION"):
        assert ratio[product]["in_band"] == pytest.approx(expected, rel=0.02)
    # Without the line's three bins of 21 nothing is left to be taken away.
    assert 18 / 21 < expected < 0.9
    assert ratio["OUT_DQ"]["outside"] == pytest.approx(1.0, abs=1e-3)
    assert ratio["PRODUCTION"]["worst_8s"] < 1.0


def test_duty_cycle_is_where_the_gain_is_one(run: dict[str, Any]) -> None:
    rows = run["series"]["couplings"]["30Hz"]
    counted, lowest, gain = (
        array(run["series"]["counted"]),
        array(rows["lowest"]),
        array(rows["gain"]),
    )
    duty = run["couplings"]["30Hz"]["duty_cycle"]
    # A second on a ramp is not at gain 1 throughout, but a part of it is.
    assert (lowest == 1)[counted == 1].mean() <= duty <= (gain > 0)[counted == 1].mean()
    assert duty == run["duty_cycle"]
    assert set(run["couplings"]["30Hz"]["reasons"]) == {"gate_unsettled", "missing"}
    # There is no input before the first second: the gate opens when its window has been filled.
    assert gain[0] == 0
    assert (gain[20:40] == 1).all()


def test_range_grows_as_the_line_goes(run: dict[str, Any]) -> None:
    found = run["range"]
    assert found["start"] == [START, START + 64]
    assert found["median"]["RAW"] < found["median"]["PRODUCTION"]
    assert found["gain"] == pytest.approx(
        found["median"]["OUT_DQ"] / found["median"]["RAW"], rel=1e-6
    )


def test_coherence_is_gone_and_its_limit_reached(run: dict[str, Any]) -> None:
    coherence = run["couplings"]["30Hz"]["coherence"]
    at = coherence["frequency"].index(30.0)
    line = coherence["witnesses"]["H1:LINE"]
    assert line["RAW"][at] > 0.99
    assert line["PRODUCTION"][at] < 0.3
    # The witness of the motion is too slow to say anything at 40 Hz.
    assert coherence["witnesses"]["H1:MOTION"]["RAW"][-1] is None
    floor = FLOOR * np.sqrt(2 / 512)
    left = floor / np.hypot(floor, 6 * FLOOR / np.sqrt(1.5))
    assert coherence["linear_limit"][at] == pytest.approx(left, rel=0.25)


def test_residual_is_gaussian(run: dict[str, Any]) -> None:
    residual = run["couplings"]["30Hz"]["residual"]
    assert abs(residual["PRODUCTION"]["excess_kurtosis"]) < 0.3
    assert residual["PRODUCTION"]["rayleigh_mean"] == pytest.approx(1.0, abs=0.1)
    # A steady line is no noise: its bin hardly fluctuates.
    at = run["couplings"]["30Hz"]["coherence"]["frequency"].index(30.0) - 12
    assert residual["RAW"]["rayleigh"][at] < 0.5
    assert sum(residual["RAW"]["histogram"]) == 2 * 21 * residual["transforms"]


SIGNAL = Injection((START + 70) * NS, 40.0, 40.0, 2000.0)


@pytest.mark.slow
def test_where_shards_end_changes_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = validated(config).report["runs"][0]
    monkeypatch.setattr(shards, "SHARD", 64 * NS)
    cut = validated(config).report["runs"][0]
    # Sums over shards are rounded in another order; all that is no sum is the same.
    for name in ("spectra", "range", "series", "seconds", "duty_cycle"):
        assert cut[name] == whole[name], name


@pytest.mark.slow
def test_processes_change_no_bit(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 64 * NS)
    one, two, three = (
        validated(config, injections=[SIGNAL], processes=processes) for processes in (1, 2, 3)
    )
    assert serialise(one.report) == serialise(two.report) == serialise(three.report)


def fetched(config: Config, low: int, high: int, processes: int = 1) -> dict[str, Any]:
    """Return the report on seconds `[low, high)` of the toy, had from gwpy."""
    span = Span((START + low) * NS, (START + high) * NS)
    run = ValidationRun("validated", config, partial(open_fetched, config, span))
    with somewhere(config.input.strain_frames.directory):
        return validate([run], ValidationRequest(span, [span], (), limits(())), processes).report


@pytest.mark.slow
def test_what_gwpy_fetches_is_judged_as_files_are(config: Config) -> None:
    report = fetched(config, 16, 40)
    unread = report["runs"][0].pop("unread")
    files = validated(config, low=16, high=40).report
    assert files["runs"][0].pop("unread") == []
    assert report == files
    # The history reaches back to before there is anything: that is said.
    assert f"gwpy has nothing of {LINE}, {MOTION} in [{START - 128}, {START})" in unread
    report["runs"][0]["unread"] = ["<this>"]
    page = html(report, [])
    assert "&lt;this&gt;" in page
    assert "Trained on some of this time: 30Hz" in page


@pytest.mark.slow
def test_processes_fetch_what_each_needs(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 64 * NS)
    one, two = (fetched(config, 0, SECONDS, processes) for processes in (1, 2))
    assert serialise(one) == serialise(two)


def test_segments_say_what_counts(config: Config) -> None:
    report = validated(config, counting=[(16, 32), (56, 80)]).report
    run = report["runs"][0]
    assert report["counting"] == [[START + 16, START + 32], [START + 56, START + 80]]
    assert run["seconds"] == {
        "counted": 40.0,
        "left_out": {"not_asked_for": 24},
        "gaps": [],
    }
    assert run["spectra"]["stretches"] == 5
    # No transform spans the hole between them.
    assert run["couplings"]["30Hz"]["coherence"]["transforms"] == 15 + 23
    # No minute of it counts by half, so there is no range, and what is not measured is not met.
    assert run["range"]["median"] == {"RAW": None, "OUT_DQ": None, "PRODUCTION": None}
    (unmet,) = (c for c in report["verdict"]["criteria"] if c["criterion"] == "range_gain")
    assert not unmet["met"]


def test_nothing_to_judge_is_an_input_error(config: Config) -> None:
    with pytest.raises(InputError, match="not_ready 8 s"):
        validated(config, low=NOT_READY[0], high=NOT_READY[1])


def test_signal_is_found_as_it_was_put_in(config: Config) -> None:
    # Three times as loud as any that was detected: the noise moves it by a few per mille.
    injection = Injection((START + 70) * NS, 30.0, 30.0, 150.0)
    (found,) = validated(config, injections=[injection]).report["runs"][0]["injections"]
    for product in ("RAW", "OUT_DQ"):
        assert found[product]["amplitude"] == pytest.approx(1.0, abs=0.02)
        assert found[product]["phase"] == pytest.approx(0.0, abs=2.0)
        assert found[product]["delay"] == 0.0
    # The line is gone, so the same signal is louder.
    assert 1.0 < found["snr_ratio"] < 1.1
    assert found["OUT_DQ"]["expected"] > found["RAW"]["expected"]
    assert found["RAW"]["snr"] > 200
    assert found["lowest_gain"] == {"30Hz": 1.0}


def test_a_signal_without_enough_strain_is_refused_before_cleaning(config: Config) -> None:
    done: list[int] = []
    span = Span(START * NS, (START + SECONDS) * NS)
    signal = Injection((START + SECONDS - 5) * NS, 30.0, 30.0, 150.0)
    request = ValidationRequest(span, [span], [signal], limits(()))
    with pytest.raises(
        InputError, match=rf"[0-9]+ s after: there is none at GPS {START + SECONDS}$"
    ):
        validate([site.run_of(config)], request, 1, lambda each, total: done.append(each))
    assert done == []


def test_matched_filter_sees_amplitude_phase_and_delay() -> None:
    rate = 512
    rng = np.random.default_rng(3)
    time = np.arange(32 * rate) / rate
    wave = np.exp(-((time - 16) ** 2) / 0.02)
    signal, quarter = (wave * f(2 * np.pi * 60 * (time - 16)) for f in (np.cos, np.sin))
    noise = 1e-3 * rng.standard_normal(len(time))
    lost = matched(noise + 0.9 * signal, signal, rate, 20.0)
    assert lost["amplitude"] == pytest.approx(0.9, abs=0.005)
    turned = matched(noise + quarter, signal, rate, 20.0)
    assert abs(turned["phase"] or 0.0) == pytest.approx(90.0, abs=1.0)
    late = matched(noise + np.roll(signal, 3), signal, rate, 20.0)
    assert late["delay"] == pytest.approx(3e3 / rate, rel=1e-5)


def test_coherence_of_known_noise() -> None:
    # The strain is the sum of two witnesses and noise of its own, all of equal power.
    rng = np.random.default_rng(0)
    cross = CrossSpectra.empty(4, 1)
    for _ in range(4000):
        first, second, own = rng.standard_normal((3, 1)) + 1j * rng.standard_normal((3, 1))
        cross.add(np.array([first + second + own, own, first, second]).T[None])
    assert cross.coherence(RAW)[2:, 0] == pytest.approx([1 / 3, 1 / 3], abs=0.03)
    assert cross.coherence(CLEANED)[2:, 0] == pytest.approx([0, 0], abs=0.01)
    assert linear_limit(cross, RAW)[0] == pytest.approx(np.sqrt(1 / 3), abs=0.02)
    assert linear_limit(cross, CLEANED)[0] == pytest.approx(1, abs=0.02)


def test_few_averages_do_not_feign_coherence() -> None:
    rng = np.random.default_rng(1)
    limits = []
    for _ in range(200):
        cross = CrossSpectra.empty(10, 1)
        for _ in range(24):
            cross.add((rng.standard_normal((10, 1)) + 1j * rng.standard_normal((10, 1))).T[None])
        limits.append(linear_limit(cross, RAW)[0] ** 2)
    assert np.mean(limits) == pytest.approx(1.0, abs=0.05)
    few = CrossSpectra.empty(10, 1)
    few.add(np.ones((1, 1, 10), dtype=np.complex128))
    assert np.isnan(linear_limit(few, RAW)).all()


def test_memory_is_bounded_by_sampling() -> None:
    hour, month = (Sampling.of(Span(0, seconds * NS)) for seconds in (3600, 30 * 86400))
    assert hour == Sampling(1, 1, 1)
    assert 30 * 86400 / month.cadence <= 8192
    assert 30 * 86400 / 8 / month.stretches <= 4096
    assert 30 * 86400 / 2 / month.transforms <= 4096


def test_coarse_rows(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = validated(config, high=40).report["runs"][0]["series"]
    monkeypatch.setattr(Sampling, "of", classmethod(lambda cls, span: cls(8, 2, 2)))
    run = validated(config, high=40).report["runs"][0]
    coarse = run["series"]
    assert coarse["start"] == fine["start"][::8]
    assert coarse["counted"] == [8.0] * 5
    for name, by in (("gain", np.mean), ("lowest", np.min)):
        rows = array(fine["couplings"]["30Hz"][name]).reshape(-1, 8)
        assert array(coarse["couplings"]["30Hz"][name]) == pytest.approx(by(rows, axis=1), rel=1e-4)
    highest = array(fine["couplings"]["30Hz"]["OUT_DQ_in_band"]).reshape(-1, 8)[2:].max(axis=1)
    assert array(coarse["couplings"]["30Hz"]["OUT_DQ_in_band_highest"])[2:] == pytest.approx(
        highest
    )
    assert run["spectra"]["stretches"] == 3


def figures(run: dict[str, Any], **changes: float | None) -> dict[str, Any]:
    """Return figures with some in-band ratios replaced."""
    ratio = run["couplings"]["30Hz"]["asd_ratio"]
    replaced = ratio | {"OUT_DQ": ratio["OUT_DQ"] | changes}
    coupling = run["couplings"]["30Hz"] | {"asd_ratio": replaced}
    return run | {"couplings": {"30Hz": coupling}}


def test_training_overlap_is_reported(config: Config, run: dict[str, Any]) -> None:
    """The toy's was, on all of it but what was held out."""
    manifest = config.models.directory / "H1" / "30Hz" / "1" / "manifest.json"
    spans = json.loads(manifest.read_text())["training"]
    model = run["models"]["30Hz"]
    assert model["trained_on"] == [[start // NS, end // NS] for start, end in spans]
    held_out = SECONDS - sum(end - start for start, end in model["trained_on"])
    assert 0 < held_out < SECONDS / 2
    assert model["unseen"] == pytest.approx(held_out / SECONDS)
    only = [*(f"{name}=none" for name in CRITERIA if name != "unseen"), "unseen=1"]
    assert not judge([run], limits(only))["passed"]
    new = run | {"models": {"30Hz": model | {"unseen": 1.0}}}
    assert judge([new], limits(only))["passed"]


@pytest.mark.parametrize(
    ("criteria", "changes", "unmet"),
    [
        (["asd_ratio=0.9"], {"in_band": 0.9}, []),
        (["asd_ratio=0.9"], {"in_band": 0.9001}, ["asd_ratio"]),
        (["asd_ratio=none"], {"in_band": 1.5}, []),
        ([], {"in_band": 1.5}, ["asd_ratio"]),
        ([], {"in_band": None}, ["asd_ratio"]),
        (["duty_cycle=0.99"], {}, ["duty_cycle"]),
        (["duty_cycle=0.5", "range_gain=2"], {}, ["range_gain"]),
    ],
)
def test_criteria(
    run: dict[str, Any], criteria: list[str], changes: dict[str, float | None], unmet: list[str]
) -> None:
    harmless = ["worst_8s=none", "duty_cycle=0.5", *criteria]
    verdict = judge([figures(run, **changes)], limits(harmless))
    assert [each["criterion"] for each in verdict["criteria"] if not each["met"]] == unmet
    assert verdict["passed"] is not bool(unmet)


def test_candidate_is_judged_by_what_is_in_force(run: dict[str, Any]) -> None:
    better, worse = figures(run, in_band=0.5), figures(run, in_band=0.8)
    only = [*(f"{name}=none" for name in CRITERIA if name != "relative"), "relative=0.7"]
    assert judge([better, worse], limits(only))["passed"]
    assert not judge([worse, better], limits(only))["passed"]
    nothing = figures(run, in_band=None)
    assert not judge([better, nothing], limits(only))["passed"]
    assert not judge([nothing, worse], limits(only))["passed"]


def test_wrong_criteria_are_named_together() -> None:
    with pytest.raises(ConfigError, match=r"did you mean asd_ratio") as raised:
        limits(["asd_rato=1", "guard=much"])
    assert len(raised.value.faults) == 2


def test_model_that_adds_noise_is_kept_out_and_reported(config: Config, tmp_path: Path) -> None:
    # The same model, but of a coupling five times as strong: its gate never opens.
    from deepclean.models import files as models
    from deepclean.models.manifest import Description, Manifest

    shipped = config.models.directory / "H1" / "30Hz" / "1"
    model = models.load(shipped)
    manifest = Manifest.parse((shipped / "manifest.json").read_bytes(), shipped)
    description = Description(**manifest.model_dump(include=set(Description.model_fields)))
    scalers = replace(model.scalers, strain_std=5 * model.scalers.strain_std)
    path = models.write_model(tmp_path, model.network, scalers, description)
    file = config.models.directory.parent / "toy.yaml"
    changes = [f"couplings.30Hz.model={path}", "couplings.30Hz.adapt=off", *site.GATES]
    turned = load(file, changes, {})
    report = validated(turned, high=40, against=config).report
    run, other = report["runs"]
    ratio = run["couplings"]["30Hz"]["asd_ratio"]
    assert ratio["OUT_DQ"]["in_band"] == 1.0
    assert ratio["PRODUCTION"]["in_band"] > 1.04
    assert run["duty_cycle"] == 0.0
    assert "gate_out_of_spec" in run["couplings"]["30Hz"]["reasons"]
    assert not report["verdict"]["passed"]
    assert other["name"] == "other"
    assert other["couplings"]["30Hz"]["asd_ratio"]["OUT_DQ"]["in_band"] < 1.0


def test_gap_that_goes_on_is_one() -> None:
    gaps: list[tuple[int, int, str]] = []
    for start, end, reason in ((60, 64, "a"), (64, 66, "a"), (66, 67, "b"), (70, 71, "b")):
        add_gap(gaps, start, end, reason)
    assert gaps == [(60, 66, "a"), (66, 67, "b"), (70, 71, "b")]
