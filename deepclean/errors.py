"""The faults that this software reports, each carrying its facts as attributes.

There are two families. An `UnavailableError` says that the system refused just now: whoever meets
it in a running process tries again, and a start ends with status 1, so that the service manager
tries again. An `InvalidError` says that something can never work as it is: a start ends with status
2, and a version of a model is rejected. `passes` sorts the operating system's error numbers.

The command line prints the message of any of them as one line; no traceback reaches a user. Data
faults inside a running stream are not exceptions: they are gaps.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Self

_FEW = 8
"""Valid names that are listed where none is near."""

_SUGGESTIONS = 3
"""Absent names that get a suggestion: among thousands of valid ones one takes 0.1 s."""


_PASSING = frozenset(
    number
    for name in (
        # The medium, or a file system over a network, is in trouble or was remounted.
        *("EIO", "EREMOTEIO", "ESTALE", "EROFS", "ENODEV", "ENXIO", "ENOMEDIUM", "EUCLEAN"),
        *("ENOTCONN", "ESHUTDOWN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN"),
        *("ENETUNREACH", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "EPROTO"),
        # Something is used up: descriptors, memory, locks, room.
        *("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ENOLCK", "ENOSPC", "EDQUOT"),
        # Somebody else is at it.
        *("EAGAIN", "EBUSY", "EINTR", "EDEADLK", "ETXTBSY"),
    )
    if (number := getattr(errno, name, None)) is not None
)
"""Error numbers that tell of the system's state. All others tell of what was asked: no such file
(ENOENT), no right to it (EACCES, EPERM), a wrong kind of file (EISDIR, ENOTDIR, ELOOP, EINVAL)."""


class ExitStatus(IntEnum):
    """How a command ends. This is the one table of exit statuses; the reference is made from it.

    Attributes:
        about: what the status says of any command.
    """

    about: str

    def __new__(cls, value: int, about: str) -> Self:
        """Make a member of its number and what it says."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.about = about
        return member

    DONE = 0, "The command has done what was asked."
    AGAIN = 1, "The system refused something just now. The same command may succeed later."
    PERSON = 2, "A person must mend the command, the configuration, the input or a model."
    VERDICT = 3, "The command ran to its end, and what it found is not good."
    INTERRUPTED = 130, "Ctrl-C ended the command."
    TERMINATED = 143, "SIGTERM ended the command. `run` ends with 0 after it."


OF_COMMANDS: Mapping[tuple[str, ExitStatus], str] = {
    ("check", ExitStatus.VERDICT): "Something would keep the daemon from starting or cleaning.",
    ("init", ExitStatus.VERDICT): "No coupling has its witnesses there. No file is written.",
    ("models list", ExitStatus.AGAIN): "A version or a pointer is damaged; the list marks it.",
    ("models verify", ExitStatus.PERSON): "Something in the store is wrong; the output names it.",
    ("replay", ExitStatus.AGAIN): "A process was killed or the disk is full.",
    ("replay", ExitStatus.PERSON): "Also: there are frames that were made otherwise.",
    ("replay", ExitStatus.VERDICT): "The span holds no strain at all.",
    ("retrain", ExitStatus.DONE): "A candidate is published, or is not for a stated reason.",
    ("shards", ExitStatus.AGAIN): "A part of the plan is not finished.",
    ("train", ExitStatus.VERDICT): "A version is written but not put in force.",
    ("tune", ExitStatus.AGAIN): "Fewer trials are done than were asked for.",
    ("validate", ExitStatus.VERDICT): "A criterion is not met, or a difference is unexplained.",
}
"""What a status says of one command, beyond what it says of all."""


def passes(number: int | None) -> bool:
    """Return whether an error number of the operating system may be another one next time.

    >>> passes(errno.EMFILE), passes(errno.ENOENT), passes(None)
    (True, False, False)
    """
    return number in _PASSING


def may_pass(error: BaseException) -> bool:
    """Return whether the same may succeed next time: by the error's family, or its number's."""
    if isinstance(error, DeepCleanError):
        return isinstance(error, UnavailableError)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and passes(error.errno))


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name closest in spelling to `name`, or None where nothing is near."""
    folded = {candidate.lower(): candidate for candidate in valid}
    match = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[match[0]] if match else None


def hint(name: str, valid: Collection[str]) -> str:
    """Return how a message about an unknown name ends, led by a semicolon.

    It names the nearest valid name, or all of them where none is near and they are few, or is
    empty.
    """
    meant = nearest(name, valid)
    if meant:
        return f"; did you mean {meant}?"
    if not 0 < len(valid) <= _FEW:
        return ""
    return f"; there {'is' if len(valid) == 1 else 'are'} {', '.join(valid)}"


def listed(absent: Iterable[str], valid: Collection[str]) -> str:
    """Return absent names as a list, the first few with the valid ones that may be meant."""
    named = []
    for position, name in enumerate(absent):
        meant = nearest(name, valid) if position < _SUGGESTIONS else None
        named.append(f"{name} (did you mean {meant}?)" if meant else name)
    return ", ".join(named)


def one_line(error: Exception) -> str:
    """Return a library's message in one line, as the end of one of ours."""
    return " ".join(str(error).split())


class DeepCleanError(Exception):
    """Base of every fault that is reported to a person rather than raised as a bug.

    It comes out of another process as it was raised there, attributes and all.
    """

    def __reduce__(self) -> tuple[object, ...]:
        # The inherited way calls the class with the message alone, which some classes refuse.
        return _raised_again, (type(self), self.args, self.__dict__)


def _raised_again(
    kind: type[DeepCleanError], args: tuple[object, ...], attributes: dict[str, object]
) -> DeepCleanError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UnavailableError(DeepCleanError):
    """The system refused just now; the same may succeed later.

    Attributes:
        path: the file or directory, where there is one.
        errno: the operating system's error number, where it gave one.
    """

    def __init__(self, message: str, *, path: Path | None = None, errno: int | None = None) -> None:
        self.path = path
        self.errno = errno
        super().__init__(f"{path}: {message}" if path is not None else message)


class InvalidError(DeepCleanError):
    """This can never work as it is: a person must mend the configuration, the input or a model."""


class ConfigError(InvalidError):
    """The configuration cannot be used. Stops the start.

    Attributes:
        faults: one line per fault, each naming the key and the remedy.
        path: the configuration file, where there is one.
    """

    def __init__(self, faults: str | Iterable[str], path: Path | None = None) -> None:
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        self.path = path
        where = f"{path}: " if path is not None else ""
        super().__init__("\n".join(f"{where}{fault}" for fault in self.faults))


class InputError(InvalidError):
    """Input data cannot be used: a missing, unreadable or inconsistent file or channel.

    Attributes:
        path: the file or directory, where there is one.
        channels: the channels concerned (absent ones, or the one with a wrong rate).
    """

    def __init__(
        self, message: str, *, path: Path | None = None, channels: Iterable[str] = ()
    ) -> None:
        self.path = path
        self.channels = tuple(channels)
        super().__init__(f"{path}: {message}" if path is not None else message)


class ModelError(InvalidError):
    """A model directory cannot be used: damaged, incomplete, or made for something else.

    Attributes:
        path: the model directory or file.
    """

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        self.path = path
        super().__init__(f"{path}: {message}" if path is not None else message)


class ControlError(InvalidError):
    """An operator's control cannot be taken, or its log cannot be trusted.

    Attributes:
        path: the log of controls.
    """

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        self.path = path
        super().__init__(f"{path}: {message}" if path is not None else message)


class OutputError(UnavailableError):
    """An output file could not be written.

    Whatever the number: a place may be emptied, mounted, or opened for us while we try again.

    Attributes:
        path: the file that was to appear.
        errno: the operating system's error number, where it gave one.
    """


def refusal(
    error: OSError, what: str, path: Path, invalid: Callable[..., InvalidError]
) -> UnavailableError | InvalidError:
    """Return the fault that a refusal of the operating system is.

    Args:
        error: the refusal.
        what: the beginning of the message, such as `cannot be read`.
        path: the file or directory that the message names.
        invalid: the class of the fault where trying again is of no use.
    """
    said = f"{what}: {error.strerror or error}"
    if passes(error.errno):
        return UnavailableError(said, path=path, errno=error.errno)
    return invalid(said, path=path)


@contextmanager
def output_errors(path: Path, what: str) -> Iterator[None]:
    """Raise an OutputError where the operating system refuses something in the block.

    Args:
        path: the file or directory that the message names.
        what: the beginning of the message, such as `cannot be written`.
    """
    try:
        yield
    except OSError as error:
        said = f"{what}: {error.strerror or error}"
        raise OutputError(said, path=path, errno=error.errno) from error


class DeviceError(UnavailableError):
    """The device that the networks run on is of no use to this process; a new one may fare better.

    Attributes:
        coupling: whose network met it.
    """

    def __init__(self, message: str, *, coupling: str) -> None:
        self.coupling = coupling
        super().__init__(f"coupling {coupling}: {message}")


class WorkerError(UnavailableError):
    """A process that worked on a part of a task died; done again, the part may succeed."""
