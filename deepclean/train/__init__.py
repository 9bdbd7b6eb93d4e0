"""Offline training: a site's history in, a model directory out.

`run.train` is the entry point. `task` checks configuration and data. `data` selects the seconds
that are fit for training, and `prepare` filters them as the engine does. `windows` and `loss` feed
the descent in `loop`, and `wiener` solves the linear baseline. `validation` judges either by
running the engine over held-out data.
"""

from deepclean.train.data import TrainingData
from deepclean.train.loop import Progress
from deepclean.train.run import train

__all__ = ["Progress", "TrainingData", "train"]
