"""The environment that these tests run in has the project's packages and the clients'."""

from pathlib import Path

import pytest

import deepclean


def test_both_are_there_and_the_project_is_this_checkout() -> None:
    pytest.importorskip("arrakis", reason="runs in .venv-streams, which scripts/peers-env makes")
    assert Path(deepclean.__file__).parents[1] == Path(__file__).parents[2]
