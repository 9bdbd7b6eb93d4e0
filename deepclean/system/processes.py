"""Jobs in several processes, each of which sets itself up once and takes one job after another.

A job that fails, or whose process dies, costs no other job its result: `concurrent.futures` gives
all of them up where one process dies, and does not say which job that one had.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TypeVar

from deepclean.errors import DeepCleanError, WorkerError

Job = TypeVar("Job")
Result = TypeVar("Result")
Tell = Callable[[Any], None]
"""Called in a worker with a message to the parent before the job is done."""

_GRACE = 10.0
"""Seconds that a worker has to end before it is killed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The error of a job without a result.

    Args:
        error: a DeepCleanError as it was raised; a WorkerError where the process died; a
            RuntimeError with the traceback of anything else.
    """

    error: Exception


def prepare(*modules: str) -> None:
    """Begin to import the workers' modules, once for all workers and beside this process.

    To be called early: workers are forked when this process has its own imports and has found out
    what there is to do. Workers have the environment of that moment. Modules that read the
    environment when they are imported, as the numerical libraries do, have that of now.
    """
    forkserver.set_forkserver_preload(list(modules))
    _start_server()


def outcomes(
    setup: Callable[[], Callable[[Job, Tell], Result]],
    jobs: Sequence[Job],
    processes: int,
    told: Tell = lambda what: None,
) -> Generator[tuple[int, Result | Failed], None, None]:
    """Yield the number and the outcome of every job, as the jobs end.

    Closed early, or left by an exception, it ends the processes.

    Args:
        setup: called once in every process; returns the function that does a job. Can be pickled.
        jobs: can be pickled, and so can their results.
        processes: number of processes.
        told: called here with the messages of the jobs.
    """
    waiting = deque(enumerate(jobs))
    workers: dict[Connection, _Worker] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < processes:
                worker = _start(setup)
                workers[worker.connection] = worker
                worker.give(*waiting.popleft())
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                worker = workers[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError):
                    del workers[connection]
                    yield worker.number, Failed(worker.lost())
                    continue
                if kind == "told":
                    told(value)
                    continue
                number = worker.number
                if waiting:
                    worker.give(*waiting.popleft())
                else:
                    del workers[connection]
                    worker.dismiss()
                yield number, value
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            worker.dismiss()


@dataclass(slots=True)
class _Worker:
    """A process, seen from the parent."""

    process: ForkServerProcess
    connection: Connection
    number: int = -1

    def give(self, number: int, job: object) -> None:
        """Give it a job. Where it is dead, its pipe ends next."""
        self.number = number
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(job)

    def dismiss(self) -> None:
        """Let it end."""
        self.connection.close()
        self.process.join(_GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def lost(self) -> WorkerError:
        """Return the error of a process that ended before its time."""
        self.process.join(_GRACE)
        code, number = self.process.exitcode, self.process.pid
        self.dismiss()
        how = f"ended with status {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return WorkerError(f"process {number} {how}")


def _start_server() -> None:
    """Start the process that workers are forked from, unless there is one."""
    # The server imports before it gets this process's path: it must find the same files. It is
    # started with `python -c`, which would look in the working directory first.
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    changed = {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        # Where the server starts the tracker, that unblocks here what is blocked here.
        resource_tracker.ensure_running()
        with _deaf_to_interrupts():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(setup: Callable[[], Callable[[Any, Tell], Any]]) -> _Worker:
    # A child of this process would inherit the numerical libraries' threads half alive. The server
    # has only imported these libraries.
    context = get_context("forkserver")
    _start_server()
    ours, theirs = context.Pipe()
    # Daemonic: a worker ends with the parent.
    environment = dict(os.environ)
    process = context.Process(target=_serve, args=(setup, theirs, environment), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block Ctrl-C in the processes that are started now, and in those forked from them.

    The terminal sends Ctrl-C to all of them; the parent takes it and ends them in order.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    setup: Callable[[], Callable[[Any, Tell], Any]],
    connection: Connection,
    environment: Mapping[str, str],
) -> None:
    """Do jobs until there are no more, or the parent has ended."""
    os.environ.clear()
    os.environ.update(environment)
    # By default a worker would end in the middle of a file and leave its temporary.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def tell(what: object) -> None:
        connection.send(("told", what))

    work = None
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job = connection.recv()
            try:
                work = work or setup()
                result = work(job, tell)
            except DeepCleanError as error:
                result = Failed(error)
            except Exception:  # noqa: BLE001  (not everything that is raised can be pickled)
                result = Failed(RuntimeError(f"in a worker process:\n{traceback.format_exc()}"))
            connection.send(("done", result))
