"""The imports of the workers of a replay, made once in the process that they are forked from.

`processes.prepare` takes the name of this module.
"""

from deepclean.system.gc import uncollected

with uncollected():
    import deepclean.cli  # (a worker looks at the main module of its parent)
    import deepclean.run.parallel  # noqa: F401
