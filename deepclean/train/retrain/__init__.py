"""Retraining at intervals: from the newest data to a canary, or to a record of why there is none.

`run.retrain` is the entry point for one coupling. `split` selects the seconds for training and the
held-out seconds. `verdict` compares a candidate with production, with the engine and the gates of a
live run. `lock` prevents a second retraining, and `log` records the outcome. The rollout decides
whether a canary becomes production.
"""

from deepclean.train.retrain.log import RetrainRecord
from deepclean.train.retrain.run import Job, retrain

__all__ = ["Job", "RetrainRecord", "retrain"]
