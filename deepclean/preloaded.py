"""What the workers of a bulk replay need, imported once in the process that they are forked from.

For `processes.prepare`, which takes a module's name.
"""

from deepclean.imports import uncollected

with uncollected():
    import deepclean.bulk
    import deepclean.cli  # noqa: F401  (a worker looks at the main module of its parent)
