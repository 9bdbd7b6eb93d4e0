"""Retraining at a cadence: the newest data in, a canary out, or a record of why there is none.

`split` says which seconds are trained on and which are held out, `verdict` holds a candidate
against production by the engine and the gates of a live run, `lock` keeps a second one away,
`log` keeps what came of it, and `run` is the whole of it for one coupling. A canary becomes
production elsewhere.
"""

from deepclean.train.retrain.log import RetrainRecord
from deepclean.train.retrain.run import Job, retrain

__all__ = ["Job", "RetrainRecord", "retrain"]
