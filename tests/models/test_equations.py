import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deepclean.cluster import pins
from deepclean.config import Config
from deepclean.errors import ModelError
from deepclean.factory import make_engine, predictor
from deepclean.models.budget import budget
from deepclean.models.closed_form import ClosedForm
from deepclean.models.content import EQUATIONS
from deepclean.models.files import load
from deepclean.models.loading import load_models
from deepclean.models.manifest import MANIFEST, sha256
from deepclean.models.reduced.equations import Equations
from deepclean.models.store import changes as store
from deepclean.models.store import verify
from tests.helpers import small_site as site
from tests.helpers.closed_form_site import LAGS, equations, publish_closed_form


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return site.small_config(tmp_path)


@pytest.fixture
def written(config: Config) -> Path:
    return publish_closed_form(config)


def test_the_solution_is_lapacks() -> None:
    held = equations(20)
    kept = np.flatnonzero(~held.needs[:, [3, 7]].any(axis=1))
    matrix = held.matrix[np.ix_(kept, kept)] + np.diag(held.load[kept])
    weights, useful = held.solve({7, 3})
    expected = np.zeros(20 * len(LAGS))
    expected[kept] = held.scale[kept] * np.linalg.solve(matrix, held.right[kept])
    assert weights == pytest.approx(expected, rel=1e-10, abs=1e-14)
    assert useful


def test_parameters_may_share_a_weight() -> None:
    held = equations(2)
    shared = Equations(
        **{
            **{name: getattr(held, name) for name in held.__slots__},
            "places": np.array([0, 1, 2, 3, 4, 0]),
        }
    )
    apart, _ = held.solve()
    together, _ = shared.solve()
    assert together.tolist() == pytest.approx([apart[0] + apart[5], *apart[1:5]], rel=1e-12)


def test_what_is_left_must_be_of_use() -> None:
    held = equations(3)
    assert held.channels == {0, 1, 2}
    nothing, useful = held.solve({0, 1, 2})
    assert not nothing.any()
    assert not useful
    # As much as noise alone would give: of 3 parameters of the power that is left.
    right = held.right.copy()
    right[:3] = 1.0
    weak = Equations(**{**{name: getattr(held, name) for name in held.__slots__}, "right": right})
    assert weak.solve({1, 2})[1] is False
    assert weak.solve({0})[1] is True
    loud = Equations(**{**{name: getattr(held, name) for name in held.__slots__}, "power": 1e9})
    assert loud.solve()[1] is False


def test_the_file_holds_the_equations_to_the_bit(written: Path, config: Config) -> None:
    held, found = equations(3), load(written, store=config.models.directory).equations
    assert found is not None
    for name in held.__slots__:
        assert np.array_equal(getattr(found, name), getattr(held, name))
    count = len(held.right)
    size = (written / EQUATIONS).stat().st_size
    assert 8 * count**2 + (40 + 3) * count < size < 8 * count**2 + (40 + 3) * count + 1024
    assert verify.version(written, config.models.directory) == []


def test_networks_for_part_of_the_witnesses(config: Config, written: Path) -> None:
    model = load(written)
    reduced = predictor(model).reduced
    assert reduced is not None
    assert reduced.uses == {0, 1, 2}
    assert reduced.without(frozenset({0, 1, 2})) is None
    inputs = torch.randn(1, 3, 64, generator=torch.Generator().manual_seed(0))
    network = reduced.without(frozenset({1}))
    assert network is not None
    output = network(inputs)
    inputs[:, 1] = 1e6
    assert torch.equal(network(inputs), output)
    assert not torch.equal(model.predict(inputs), output)
    again = predictor(load(written)).reduced
    assert again is not None
    other = again.without(frozenset({1}))
    assert other is not None
    assert torch.equal(other(inputs), output)
    # What was asked for long ago is solved for again.
    assert all(reduced.without(frozenset({n})) is not None for n in (0, 1, 2))


def test_a_model_without_equations_loads_as_ever(config: Config) -> None:
    path = publish_closed_form(config, known=False)
    assert not (path / EQUATIONS).exists()
    model = load(path)
    assert model.equations is None
    assert predictor(model).reduced is None
    assert verify.version(path, config.models.directory) == []


def test_damaged_or_absent_equations_are_refused(written: Path) -> None:
    path = written / EQUATIONS
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"equations.safetensors: does not match the sha256"):
        load(written)
    path.unlink()
    with pytest.raises(ModelError, match="No such file"):
        load(written)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"right": np.zeros(3)}, "does not belong to a model with 9 weights"),
        ({"places": np.arange(1, 10)}, "does not belong to a model with 9 weights"),
        ({"load": np.full(9, np.nan)}, "is not finite"),
    ],
)
def test_other_equations_are_refused(
    written: Path, changed: dict[str, np.ndarray], said: str
) -> None:
    held = equations(3)
    other = Equations(**{**{name: getattr(held, name) for name in held.__slots__}, **changed})
    content = other.serialise()
    (written / EQUATIONS).write_bytes(content)
    manifest = json.loads((written / MANIFEST).read_text())
    manifest["files"][EQUATIONS] = sha256(content)
    (written / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=said):
        load(written)


def test_copies_keep_them(config: Config, written: Path, tmp_path: Path) -> None:
    published = store.publish(tmp_path / "other", written)
    assert (published / EQUATIONS).read_bytes() == (written / EQUATIONS).read_bytes()
    assert load(published, store=tmp_path / "other").equations is not None
    pins.pin(config, load_models(config), tmp_path / "plan" / "pinned.json")
    (pinned,) = pins.load_pinned(config, tmp_path / "plan" / "pinned.json").values()
    assert pinned.equations is not None


@pytest.mark.parametrize("hop", ["1.0", "0.0625"])
def test_the_budget_is_the_engines(tmp_path: Path, hop: str) -> None:
    config = site.small_config(tmp_path, f"engine.hop={hop}")
    histories = {}
    for version, known in ((1, False), (2, True)):
        publish_closed_form(config, version, known=known)
        engine, plan = make_engine(config, load_models(config)), budget(config).plan
        assert (plan.history, plan.lookahead) == (engine.history, engine.lookahead)
        histories[known] = (engine.history, engine.lookahead)
    assert histories[True] == histories[False]


def test_only_a_closed_form_has_them() -> None:
    made = ClosedForm(
        1,
        decimation=1,
        features=[[[0, "wide", 0]]],
        taps=[[0]],
        halves={"wide": 0, "slow": 0, "out": 0},
    )
    assert made.equations is None
