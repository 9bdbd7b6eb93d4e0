import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.train.prepare import TrainingStretch
from deepclean.train.windows import Windows


def stretches(lengths: list[int]) -> list[TrainingStretch]:
    """Return stretches whose samples say where they are: 1000 * stretch + index."""
    made = []
    for number, length in enumerate(lengths):
        target = (1000 * number + np.arange(length)).astype(np.float32)
        made.append(TrainingStretch(Span(0, 1), np.stack([target, -target]), target))
    return made


@settings(max_examples=50)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    length=st.integers(1, 40),
    epoch=st.integers(1, 1000),
)
def test_every_window_is_a_part_of_one_stretch(lengths: list[int], length: int, epoch: int) -> None:
    if max(lengths) < length:
        with pytest.raises(InputError, match="no training stretch holds one window"):
            Windows(stretches(lengths), length, 0, "cpu")
        return
    windows = Windows(stretches(lengths), length, 0, "cpu")
    witnesses, targets = windows.batch(windows.draw(epoch, 16))
    assert witnesses.shape == (16, 2, length)
    for row, target in zip(witnesses, targets, strict=True):
        assert torch.equal(target, target[0] + torch.arange(length))
        assert torch.equal(row, torch.stack([target, -target]))
        number, start = divmod(int(target[0]), 1000)
        assert start + length <= lengths[number]


def test_every_place_is_drawn() -> None:
    windows = Windows(stretches([5, 2, 7]), 3, 0, "cpu")
    _, targets = windows.batch(windows.draw(1, 2000))
    assert {int(t[0]) for t in targets} == {0, 1, 2, 2000, 2001, 2002, 2003, 2004}


def test_an_epoch_s_places_depend_on_seed_and_epoch_alone() -> None:
    one, two = (Windows(stretches([900]), 10, 3, "cpu") for _ in range(2))
    other = Windows(stretches([900]), 10, 4, "cpu")
    one.draw(1, 8)
    assert torch.equal(one.draw(2, 8), two.draw(2, 8))
    assert not torch.equal(one.draw(2, 8), one.draw(3, 8))
    assert not torch.equal(one.draw(2, 8), other.draw(2, 8))
