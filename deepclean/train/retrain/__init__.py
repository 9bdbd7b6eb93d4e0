"""Retraining at intervals: from the newest data to a canary, or to a record of why there is none.

`run.retrain` is the entry point for one coupling: it decides between a refit and a full training.
`refit` solves a closed form in production anew, from the statistics in `cells`; `search` trains.
`split` selects the seconds for training and the held-out seconds. `verdict` compares a candidate
with production, with the engine and the gates of a live run. `publish` makes it the canary. `lock`
prevents a second retraining, and `log` records the outcome. The rollout decides whether a canary
becomes production.
"""

from deepclean.train.retrain.job import Job
from deepclean.train.retrain.log import RetrainRecord
from deepclean.train.retrain.run import retrain

__all__ = ["Job", "RetrainRecord", "retrain"]
