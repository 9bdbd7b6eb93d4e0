"""Offline training: a site's history in, a model directory out.

`train` is the whole of it. `data` says which seconds are fit, `prepare` filters them as the engine
does, `windows` and `loss` feed the descent in `loop`, `wiener` solves the linear baseline,
`validation` judges either by running the engine over held-out data, and `remote` takes data from
wherever gwpy finds it.
"""

from deepclean.train.data import TrainingData
from deepclean.train.loop import Progress
from deepclean.train.run import train

__all__ = ["Progress", "TrainingData", "train"]
