"""Who runs the jobs: this process, or a pool of others (`runs.cluster`: many machines).

An executor takes jobs and yields each with its result as it finishes, in any order. It keeps no results; `run_jobs`
looks up and stores. Because a job is a pure function of its spec, who ran it, and where, changes no number, up to
rounding: cohorts round otherwise than jobs alone (see `runs.cohort`), the compiled loss otherwise than PyTorch's
operations, and PyTorch otherwise on another type of processor.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeAlias

from autorobustloss.data import Dataset
from autorobustloss.errors import WorkerError
from autorobustloss.runs.cohort import Unit, by_cohort
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.runtime import Runtime
from autorobustloss.runs.sharing import SharedDatasets
from autorobustloss.runs.trainer import SERIAL, Trainer
from autorobustloss.runs.worker import Run, Worker, failure_of, interrupts_blocked

Results: TypeAlias = Generator[tuple[Job, Result], None, None]
Failures: TypeAlias = dict[str, str]
"""What went wrong, by the key of the job."""


class Executor(AbstractContextManager["Executor"]):
    """What `run_jobs` needs: run jobs, yield (job, result) as they finish, raise WorkerError when one fails."""

    @property
    def load(self) -> str:
        """Where jobs run, in a line for progress; "" for this machine alone."""
        return ""

    @abstractmethod
    def map(self, jobs: Sequence[Job], failures: Failures | None = None, ahead: Sequence[Job] = ()) -> Results:
        """Yield every job with its result, in the order in which they finish.

        failures: where given, a job that fails is noted there, by its key, and the others go on.
        ahead: jobs that will be asked for next; an executor for many workers may begin them where one would be idle.

        Closing the generator, or an error, cancels the jobs that have not finished.
        """

    def close(self) -> None:
        """Release what the executor holds."""

    def __exit__(self, *_: object) -> None:
        self.close()


def units_of(jobs: Sequence[Job], runtime: Runtime, workers: int | None = None) -> deque[Unit]:
    """Return what an executor hands out: cohorts where the runtime wants them, else every job alone.

    workers: among whom cohorts are divided; None for those of the runtime.
    """
    return deque(by_cohort(jobs, workers or runtime.workers) if runtime.cohorts else [(job,) for job in jobs])


class Durations:
    """How long the last job of the same task and method took, in seconds; infinity for what is new."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[Task, str], float] = {}

    def of(self, job: Job) -> float:
        """Return how long a job will probably take."""
        return self._seconds.get((job.task, job.method.name), math.inf)

    def note(self, job: Job, result: Result) -> None:
        """Remember how long a job took."""
        self._seconds[job.task, job.method.name] = result.wall_time

    def longest_first(self, jobs: Sequence[Job]) -> list[Job]:
        """Return jobs in the order to start them, so that none that is long is left for the end; new ones first."""
        return sorted(jobs, key=lambda job: -self.of(job))


def try_again(pending: deque[Unit], unit: Unit, error: WorkerError, failures: Failures | None) -> None:
    """Put the halves of a unit that failed before what is pending, until the job that fails is alone, and noted.

    Raises the error where failures are not noted.
    """
    if len(unit) > 1:
        middle = math.ceil(len(unit) / 2)
        pending.extendleft((unit[middle:], unit[:middle]))
    elif failures is None:
        raise error
    else:
        failures[unit[0].key] = str(error)


class SerialExecutor(Executor):
    """Runs the jobs one after another in this process."""

    def __init__(self, datasets: Mapping[str, Dataset], runtime: Runtime = SERIAL) -> None:
        """`datasets`: by the name that the jobs use."""
        self.runtime = replace(runtime, workers=1)
        self.trainer = Trainer(datasets, self.runtime)

    def map(self, jobs: Sequence[Job], failures: Failures | None = None, ahead: Sequence[Job] = ()) -> Results:
        """Yield every job with its result, in order; a cohort when its first job's turn comes."""
        pending = units_of(jobs, self.runtime)
        while pending:
            unit = pending.popleft()
            try:
                results, _, _ = self.trainer.train(*unit)
            except Exception as error:
                try_again(pending, unit, failure_of(unit, error), failures)
            else:
                yield from zip(unit, results)


class ProcessExecutor(Executor):
    """Runs the jobs in single-threaded processes, one for each core, that live until `close`.

    Processes are spawned when `map` first needs them and keep their data between calls. They ignore Ctrl-C, which is
    the parent's to handle, and end when the parent ends, however it does. A process that dies (killed, out of memory)
    is replaced and its job tried once more; dying again is a WorkerError. With cohorts, jobs that can be trained at
    once are divided among the processes.

    As wherever processes are spawned, a script that makes one needs `if __name__ == "__main__":`.
    """

    def __init__(self, datasets: Mapping[str, Dataset], runtime: Runtime | None = None) -> None:
        """`datasets`: by the name that the jobs use, shared with the workers; runtime: None for one worker per core."""
        self.runtime = runtime or Runtime()
        self.run: Run = Trainer(SharedDatasets(datasets), self.runtime)
        self._idle: list[Worker] = []
        self._busy: dict[Future[Sequence[Result]], tuple[Worker, Unit]] = {}
        self._durations = Durations()

    def map(self, jobs: Sequence[Job], failures: Failures | None = None, ahead: Sequence[Job] = ()) -> Results:
        """Yield every job with its result as it finishes; jobs that took long before start first."""
        if self._busy:
            raise WorkerError("got a second map while the first goes on; finish or close that, or use another executor")
        pending, died = units_of(self._durations.longest_first(jobs), self.runtime), set[Unit]()
        try:
            while pending or self._busy:
                self._assign(pending)
                finished: list[tuple[Job, Result]] = []
                failed: list[tuple[Unit, WorkerError]] = []
                for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
                    worker, unit = self._busy.pop(future)
                    try:
                        finished += zip(unit, future.result())
                    except WorkerError as error:
                        failed.append((unit, error))
                    except BrokenExecutor:
                        worker.kill()
                        if unit in died or len(unit) > 1:
                            failed.append((unit, worker.obituary(unit)))
                        else:
                            died.add(unit)
                            pending.appendleft(unit)
                        continue
                    self._idle.append(worker)
                if failures is not None or not failed:
                    self._assign(pending)  # before the caller gets to store what is finished: no core waits for that
                for job, result in finished:
                    self._durations.note(job, result)
                    yield job, result
                for unit, failure in failed:
                    try_again(pending, unit, failure, failures)
        finally:
            for worker, _ in self._busy.values():
                worker.kill()
            self._busy.clear()

    def close(self) -> None:
        """End the processes."""
        while self._idle:
            self._idle.pop().kill()

    def _assign(self, pending: deque[Unit]) -> None:
        """Give pending units to idle workers, starting workers as long as there are fewer than allowed."""
        while pending and len(self._busy) < self.runtime.workers:
            with interrupts_blocked():
                worker, unit = self._idle.pop() if self._idle else Worker(self.run), pending.popleft()
                self._busy[worker.submit(unit)] = worker, unit
