"""Offline training: a site's history in, a model directory out.

`run.run_training` is the entry point. `task` checks configuration and data, with `site_checks`.
`data` selects the seconds that are fit for training, by `fitness` where it concerns the witnesses,
and `prepare` filters them as the engine does. `fit` makes the models: `solve` in closed form,
`wiener` the linear baseline, and `descent` a network, alone or on top of the closed form: `network`
fits it to prepared data, `windows` and `loss` feed the descent in `loop`, and `paired` judges it
beside the closed form. `judging` runs the engine over held-out data with each of them.
"""

from deepclean.train.data import TrainingData
from deepclean.train.loop import Progress
from deepclean.train.run import TrainingResult, run_training, train

__all__ = ["Progress", "TrainingData", "TrainingResult", "run_training", "train"]
