"""The latency budget is read from manifests; the networks themselves would say the same."""

from __future__ import annotations

import pytest

from deepclean.models.budget import STATES_REACH
from deepclean.models.networks import ARCHITECTURES


def test_every_architecture_is_known() -> None:
    assert STATES_REACH.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_is_known_which_state_how_far_they_look(name: str) -> None:
    assert STATES_REACH[name] == hasattr(ARCHITECTURES[name], "before")
