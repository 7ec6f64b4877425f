"""One process of the pool: the parent's handle on it, and what runs inside."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait

from autorobustloss.errors import ARLError, WorkerError
from autorobustloss.runs.cohort import Unit, run_unit
from autorobustloss.runs.job import Job
from autorobustloss.runs.result import Result
from autorobustloss.runs.trainer import environment

SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""What the numerical libraries of a worker read when they are imported, so it must be there before."""


class WorkerDiedError(Exception):
    """The process ended without an answer."""


class Worker:
    """The parent's handle on one spawned process that runs one unit of jobs at a time (see `runs.cohort`).

    jobs: those of the unit that it still owes a result, in the order in which results come. Jobs and results cross as
    JSON. The process is given `run` once, when it starts.
    """

    def __init__(self, run: Callable[[Job], Result]) -> None:
        """Start the process; the call returns before it is up."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.jobs: deque[Job] = deque()
        self._up = False
        self._process = context.Process(target=work, args=(theirs, run), daemon=True, name="autorobustloss worker")
        with environment(**SINGLE_THREADED), _interrupts_blocked():
            self._process.start()
        theirs.close()  # so that the connection ends when the process does

    @property
    def job(self) -> Job | None:
        """The job whose result comes next, None for an idle worker."""
        return self.jobs[0] if self.jobs else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def give(self, unit: Unit) -> None:
        """Send a unit; a process that is gone is noticed by `receive`."""
        self.jobs = deque(unit)
        with suppress(OSError):
            self.connection.send_bytes(json.dumps([job.to_dict() for job in unit]).encode())

    def receive(self) -> Result | None:
        """Return the result of `job`, or None for the news that the process is up.

        Raises WorkerError with the traceback of a job that failed, which ends its unit (the caller clears `jobs`),
        WorkerDiedError when the process has ended.
        """
        try:
            message = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise WorkerDiedError(self._obituary()) from None
        if "up" in message:
            self._up = True
            return None
        if "failure" in message:
            raise WorkerError(message["failure"])
        self.jobs.popleft()
        return Result.from_dict(message["result"])

    def kill(self) -> None:
        """End the process at once; it holds nothing that could be lost."""
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _obituary(self) -> str:
        self._process.join(timeout=5)
        code, label = self._process.exitcode, self.job.label if self.job else "no job"
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if not self._up:
            return (
                f"a worker process ended while it started ({how}), twice, before job {label}; its message is above. "
                'A script that starts workers needs `if __name__ == "__main__":` around what it does'
            )
        return (
            f"a worker process ended twice in job {label} ({how}); finished jobs are stored. "
            "Often memory ran out: try fewer workers"
        )


def work(connection: Connection, run: Callable[[Job], Result]) -> None:
    """Run units of jobs until the parent closes the connection or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent is gone
        connection.send_bytes(b'{"up": true}')
        while True:
            unit = tuple(Job.from_dict(job) for job in json.loads(connection.recv_bytes()))
            results = run_unit(run, unit)
            for job in unit:
                try:
                    reply = json.dumps({"result": next(results).to_dict()}, allow_nan=False)
                except Exception as error:
                    connection.send_bytes(json.dumps({"failure": describe_failure(job, error)}).encode())
                    break
                connection.send_bytes(reply.encode())


def describe_failure(job: Job, error: Exception) -> str:
    """Name the job and the error; with the traceback, unless the error is one of ours, which explains itself."""
    if isinstance(error, ARLError):
        return f"job {job.label} failed: {error}"
    trace = "".join(traceback.format_exception(error)).rstrip()
    return f"job {job.label} failed: {type(error).__name__}: {error}\n{trace}"


def _end_with_parent() -> None:
    """End this process, busy or not, as soon as its parent is gone, even by `kill -9`."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # The sentinel stays open if the parent had forked other children, so its process id is looked at as well.
    while os.getppid() == parent.pid and not wait([parent.sentinel], timeout=5):
        pass
    os._exit(1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold back Ctrl-C; a child that starts meanwhile never gets it, not even before it can ignore it.

    The child inherits the blocked signal. In this process another thread, one of a library's, may take the signal all
    the same and have Python interrupt this one, so Python is told to wait as well: half of what a child needs to start
    makes it complain.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # if it started with the first child, it would lift the mask
    held: list[int] = []
    handler = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if handler is not None:
        signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if held:
            signal.raise_signal(signal.SIGINT)
