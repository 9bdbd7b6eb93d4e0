"""Offline training: a site's history in, a model directory out.

`run.train` is the entry point. `task` checks configuration and data, with `site_checks`. `data`
selects the seconds that are fit for training, by `fitness` where it concerns the witnesses, and
`prepare` filters them as the engine does. `solve` fits the closed form, and `wiener` the linear
baseline. `descent` trains a network, alone or on top of the closed form: `network` fits it to
prepared data, `windows` and `loss` feed the descent in `loop`, and `paired` judges it beside the
closed form. `validation` judges any model by running the engine over held-out data.
"""

from deepclean.train.data import TrainingData
from deepclean.train.loop import Progress
from deepclean.train.run import train

__all__ = ["Progress", "TrainingData", "train"]
