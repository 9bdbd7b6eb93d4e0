"""What the workers of a bulk replay need, imported once in the process that they are forked from.

For `processes.prepare`, which takes a module's name.
"""

from deepclean.system.gc import uncollected

with uncollected():
    import deepclean.cli  # (a worker looks at the main module of its parent)
    import deepclean.run.parallel  # noqa: F401
