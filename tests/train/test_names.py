"""The configuration knows the models and losses that can be trained, without importing them."""

from __future__ import annotations

import inspect

import pytest

from deepclean.config.training import ARCHITECTURES, LOSSES
from deepclean.models import networks
from deepclean.train import loss
from deepclean.train.task import FITTED, OF_NETWORK


def test_all_architectures_are_known() -> None:
    assert ARCHITECTURES.keys() == networks.ARCHITECTURES.keys()


@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - FITTED))
def test_options_are_those_of_the_network(name: str) -> None:
    taken = list(inspect.signature(networks.ARCHITECTURES[name]).parameters)[1:]
    assert set(ARCHITECTURES[name]) == set(taken)


def test_options_of_a_hybrid_are_those_of_a_fit_and_of_a_network() -> None:
    assert set(ARCHITECTURES["hybrid"]) == {*ARCHITECTURES["closed_form"], *OF_NETWORK}


@pytest.mark.parametrize("name", loss.LOSSES)
def test_options_are_those_of_the_loss(name: str) -> None:
    assert LOSSES.keys() == loss.LOSSES.keys()
    taken = list(inspect.signature(loss.LOSSES[name]).parameters)[2:]
    assert set(LOSSES[name]) == set(taken)
