"""Offline training: a site's history in, a model directory out.

`run.run_training` is the entry point. `task` checks configuration and data. `data` selects the
seconds that are fit for training, and `prepare` filters them as the engine does. `fit` makes the
models: `solve` in closed form, `wiener` the linear baseline, and a descent in `loop`, which
`windows` and `loss` feed. `judging` runs the engine over held-out data with each of them.
"""

from deepclean.train.data import TrainingData
from deepclean.train.loop import Progress
from deepclean.train.run import TrainingResult, run_training, train

__all__ = ["Progress", "TrainingData", "TrainingResult", "run_training", "train"]
