"""What a search varies, as configurations that can be loaded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config, load
from deepclean.errors import ConfigError
from deepclean.tune.effects import Effect, effects
from deepclean.tune.space import SearchSpace
from tests.helpers.training_site import LINE, MOTION, toy_config

EVERYTHING = (
    "tune.witnesses=[DULL, DULLER]",
    "tune.groups={still: [DULL, DULLER]}",
    "tune.edges=2",
    "tune.search={bandpass.transition: [12, 16], training.seed: {low: 1, high: 9, whole: true}}",
    "tune.models={closed_form: {}, autoencoder: {training.learning_rate: "
    "{low: 1e-6, high: 1e-5, log: true}, training.architecture_options.hidden: [[8], [8, 16]]}}",
)


class Dice:
    """Chooses at random, and keeps what it chose."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.params.setdefault(name, self._random.choice(choices))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        value = self._random.uniform(low, high)
        value = value if step is None else low + step * round((value - low) / step)
        self.params[name] = value
        return value

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.params[name] = self._random.randint(low, high)
        return int(self.params[name])


def loaded(place: Path, space: SearchSpace, point: dict[str, Any]) -> Config:
    return load(place / "toy.yaml", space.overrides(point), environ={})


@pytest.mark.parametrize("seed", range(20))
def test_every_point_is_a_configuration(tmp_path: Path, seed: int) -> None:
    space = SearchSpace(toy_config(tmp_path, *EVERYTHING), "30Hz")
    dice = Dice(seed)
    space.suggest(dice)
    point = dice.params
    if not any(point[name] for name in point if name.startswith("use ")):
        with pytest.raises(ConfigError, match="no witness is used"):
            space.overrides(point)
        return
    config = loaded(tmp_path, space, point)
    coupling = config.couplings["30Hz"]
    used = {"H1:DULL", "H1:DULLER"} & set(coupling.witnesses)
    assert len(used) == (2 if point["use still"] else 0)
    assert (LINE in coupling.witnesses) == point[f"use {LINE}"]
    (band,) = coupling.bands
    assert band[0] == 25 - point["wider below of 25-35 Hz"]
    assert band[1] == 35 + point["wider above of 25-35 Hz"]
    assert coupling.bandpass.transition in (12, 16)
    assert 1 <= config.training.seed <= 9
    assert config.training.architecture == point["model"]
    if point["model"] == "autoencoder":
        rate = point["autoencoder: training.learning_rate"]
        assert config.training.learning_rate == rate
        assert config.training.architecture_options["hidden"] in ((8,), (8, 16))
    else:
        assert not config.training.architecture_options


def test_all_are_judged_in_the_widest_bands(tmp_path: Path) -> None:
    bands = "couplings.30Hz.bands=[[30, 40], [20, 28]]"
    config = toy_config(tmp_path, bands, "tune.edges=0.5")
    assert SearchSpace(config, "30Hz").judged == ((19.5, 28.5), (29.5, 40.5))
    config = toy_config(tmp_path, bands, "tune.edges=1")
    assert SearchSpace(config, "30Hz").judged == ((19.0, 41.0),)


def test_without_a_section_witnesses_and_the_kind_s_own_keys_are_searched(tmp_path: Path) -> None:
    dice = Dice(0)
    SearchSpace(toy_config(tmp_path, "training.architecture=closed_form"), "30Hz").suggest(dice)
    assert set(dice.params) == {f"use {LINE}", f"use {MOTION}"}
    SearchSpace(toy_config(tmp_path, "training.architecture=autoencoder"), "30Hz").suggest(dice)
    assert "autoencoder: training.learning_rate" in dice.params


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("tune.groups={one: [LIN]}", "did you mean H1:LINE"),
        ("tune.groups={one: [LINE], two: [LINE]}", "is in one and in two"),
        ("tune.search={training.seed: 3}", "write a list of choices"),
        ("tune.search={training.seed: []}", "write a list of choices"),
        ("tune.search={training.seed: {low: 1}}", "seed.high: None cannot be used"),
        ("tune.search={training.seed: {low: 1, high: 2, step: 1}}", "no step in a range"),
        ("tune.search={training.seed: {low: 3, high: 2}}", "low must be below high"),
        ("tune.search={training.seed: {low: 0, high: 2, log: true}}", "positive where log"),
        ("tune.models={wiener: 3}", "tune.models.wiener: must be keys"),
    ],
)
def test_what_cannot_be_searched_is_said(tmp_path: Path, override: str, said: str) -> None:
    config = toy_config(tmp_path, override)
    with pytest.raises(ConfigError, match=said):
        SearchSpace(config, "30Hz")


def test_options_of_one_kind_are_not_given_to_another(tmp_path: Path) -> None:
    config = toy_config(
        *(tmp_path, "training.architecture=wiener", "training.architecture_options={taps: 5}"),
        "tune.models={wiener: {}, closed_form: {}}",
    )
    with pytest.raises(ConfigError, match="belong to wiener alone"):
        SearchSpace(config, "30Hz")


def test_effects_tell_what_mattered() -> None:
    rng = np.random.default_rng(0)
    points: list[dict[str, Any]] = [
        {"a": bool(rng.integers(2)), "b": str(rng.integers(3)), "c": float(rng.uniform())}
        for _ in range(60)
    ]
    results = [1.0 * p["a"] + 0.5 * (p["b"] == "1") + 0.01 * rng.standard_normal() for p in points]
    found = effects(points, results)
    assert list(found)[:2] == ["a", "b"]
    # Of independent terms the variances are 1/4 and 0.5^2 (1/3) (2/3).
    expected = np.array([1 / 4, 1 / 18]) / (1 / 4 + 1 / 18)
    for kind in ("alone", "beyond"):
        shares = np.array([getattr(found[name], kind) for name in "abc"])
        assert np.allclose(shares[:2], expected, atol=0.12)
        assert shares[2] < 0.05
    assert set(effects(points, [1.0] * 60).values()) == {Effect(0.0, 0.0)}
    assert effects([], []) == {}


def test_effects_of_parameters_that_changed_together() -> None:
    points = [{"a": bool(n % 2), "b": bool(n % 2)} for n in range(20)]
    found = effects(points, [float(n % 2) for n in range(20)])
    assert all(each.alone > 0.99 and each.beyond < 0.01 for each in found.values())


def test_effects_of_parameters_that_not_all_trials_have() -> None:
    points: list[dict[str, Any]] = [{"kind": "x", "rate": r} for r in (1.0, 2.0, 3.0)]
    points += [{"kind": "y"} for _ in range(3)]
    found = effects(points, [1.0, 2.0, 3.0, 2.0, 2.0, 2.0])
    assert found["rate"].beyond > 0.9
    assert found["kind"].beyond < 0.1
