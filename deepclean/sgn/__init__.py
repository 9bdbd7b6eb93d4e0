"""DeepClean as an element of SGN pipelines; needs the extra `sgn`, and no other package imports it.

    from deepclean.sgn import DeepClean

SGN finds the element under the entry point group `sgn_elements`.
"""

from deepclean.sgn.element import DeepClean

__all__ = ["DeepClean"]
