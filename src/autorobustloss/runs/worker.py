"""One process of the pool: the parent's handle on it, and what runs inside."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeAlias

from autorobustloss.errors import ARLError, WorkerError
from autorobustloss.runs.cohort import Unit
from autorobustloss.runs.reproducible import environment
from autorobustloss.runs.result import Result

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""What a worker's libraries read when they start, so it must be there before: one thread; and, for glibc, large
tensors that leave no holes in memory when they go."""

Run: TypeAlias = Callable[[Unit], Sequence[Result]]


class Worker:
    """A pool of one process, so that its death is that of one unit of jobs (see `runs.cohort`) and of no other.

    The process is given `run` once, when it starts.
    """

    def __init__(self, run: Run) -> None:
        """Start the process; the call returns before it is up. To be made with `interrupts_blocked`."""
        context = _Context()
        self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(run,))
        with environment(**ENVIRONMENT):
            self._up = self._pool.submit(bool)
        self.process = context.process

    def submit(self, unit: Unit) -> Future[Sequence[Result]]:
        """Return the future results of a unit: a WorkerError where it fails, BrokenExecutor where the process dies."""
        try:
            return self._pool.submit(_work, unit)
        except BrokenExecutor as error:  # it died while it was idle
            broken = Future[Sequence[Result]]()
            broken.set_exception(error)
            return broken

    def kill(self) -> None:
        """End the process at once; it holds nothing that could be lost."""
        self.process.kill()
        self._pool.shutdown()

    def obituary(self, unit: Unit) -> WorkerError:
        """Say how the process ended, of which `kill` has been called."""
        code = self.process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return WorkerError(
            f"a worker process ended twice in job {unit[0].label} ({how}); finished jobs are stored. Often memory ran "
            "out: try fewer workers. If it left a message above, as it started: "
            'a script that starts workers needs `if __name__ == "__main__":` around what it does'
        )


class _Context(SpawnContext):
    """Remembers the process that it made, which ends at the latest when this one does."""

    process: SpawnProcess

    def Process(self, *arguments: Any, **options: Any) -> SpawnProcess:  # type: ignore[override] # noqa: N802
        self.process = SpawnProcess(*arguments, daemon=True, **options)
        return self.process


_run: Run
"""What this process was started for, in a worker."""


def _begin(run: Run) -> None:
    global _run
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _run = run


def _work(unit: Unit) -> Sequence[Result]:
    try:
        return _run(unit)
    except Exception as error:
        raise failure_of(unit, error) from None


def failure_of(unit: Unit, error: Exception) -> WorkerError:
    """Name the job and the error; with the traceback, unless the error is one of ours, which explains itself."""
    if isinstance(error, ARLError):
        return WorkerError(f"job {unit[0].label} failed: {error}")
    trace = "".join(traceback.format_exception(error)).rstrip()
    return WorkerError(f"job {unit[0].label} failed: {type(error).__name__}: {error}\n{trace}")


def _end_with_parent() -> None:
    """End this process, busy or not, as soon as its parent is gone, even by `kill -9`."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # which it is in the first process only
    # The sentinel stays open if the parent had forked other children, so its process id is looked at as well.
    while os.getppid() == parent.pid and not wait([parent.sentinel], timeout=5):
        pass
    os._exit(1)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold back Ctrl-C; a child that starts meanwhile never gets it, not even before it can ignore it.

    The child inherits the blocked signal. In this process another thread, one of a library's, may take the signal all
    the same and have Python interrupt this one, so Python is told to wait as well: half of what a child needs to start
    makes it complain.
    """
    held: list[int] = []
    with ExitStack() as stack:
        handler = signal.getsignal(signal.SIGINT)
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, lambda number, _: held.append(number))
            stack.callback(signal.signal, signal.SIGINT, handler)
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            resource_tracker.ensure_running()  # if it started with the first child, it would lift the mask
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        yield
    if held:
        signal.raise_signal(signal.SIGINT)
