"""What the Arrakis client and its server say of an error, without what gRPC adds to it."""

from __future__ import annotations

from deepclean.errors import one_line

_ADDED = (". Detail: ", ". gRPC client debug context: ")
"""What begins the words of gRPC, which say the same again."""


def message_of(error: Exception) -> str:
    """Return the message of an error of the client in one line; its type where there is none.

    >>> message_of(ValueError("no such publisher. Detail: Unauthorized. gRPC client debug"))
    'no such publisher'
    """
    said = one_line(error)
    for added in _ADDED:
        said = said.partition(added)[0]
    return said or type(error).__name__
