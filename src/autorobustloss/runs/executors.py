"""Who runs the jobs: this process, or a pool of others.

An executor takes jobs and yields each with its result as it finishes, in any order. It keeps no results; `evaluate`
looks up and stores. Because a job is a pure function of its spec, who ran it, and where, changes no number, up to
rounding: cohorts round otherwise than jobs alone (see `runs.cohort`), the compiled loss otherwise than PyTorch's
operations, and PyTorch otherwise on another type of processor. `exact` leaves the compiled loss out, and takes denormal
numbers for what they are.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, TypeAlias

from autorobustloss.errors import ConfigError, WorkerError
from autorobustloss.runs.cohort import CohortTrainer, Unit, by_cohort, one_by_one, run_unit
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.sharing import share
from autorobustloss.runs.trainer import Trainer
from autorobustloss.runs.worker import Worker, WorkerDiedError, describe_failure

if TYPE_CHECKING:
    from typing_extensions import Self

    from autorobustloss.data import Dataset

Results: TypeAlias = Generator[tuple[Job, Result], None, None]
Failures: TypeAlias = dict[str, str]
"""What went wrong, by the key of the job."""


class Executor(ABC):
    """What `evaluate` needs: run jobs, yield (job, result) as they finish, raise WorkerError when one fails."""

    @abstractmethod
    def map(self, jobs: Sequence[Job], failures: Failures | None = None) -> Results:
        """Yield every job with its result, in the order in which they finish.

        failures: where given, a job that fails is noted there, by its key, and the others go on.

        Closing the generator, or an error, cancels the jobs that have not finished.
        """

    def close(self) -> None:  # noqa: B027, an executor need not hold anything
        """Release what the executor holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SerialExecutor(Executor):
    """Runs the jobs one after another in this process."""

    def __init__(
        self, datasets: Mapping[str, Dataset], device: str = "cpu", cohorts: bool = False, exact: bool = False
    ) -> None:
        """`datasets`: by the name that the jobs use; device: "cpu" or "cuda"; cohorts: train like jobs at once.

        exact: only what PyTorch computes, without the compiled loss, see `runs.run_job`.
        """
        self.cohorts = cohorts
        self.run: Callable[[Job], Result] = (CohortTrainer if cohorts else Trainer)(datasets, device, exact=exact)

    def map(self, jobs: Sequence[Job], failures: Failures | None = None) -> Results:
        """Yield every job with its result, in order; a cohort when its first job's turn comes."""
        pending = deque(by_cohort(jobs) if self.cohorts else one_by_one(jobs))
        while pending:
            unit = pending.popleft()
            results = run_unit(self.run, unit)
            for number, job in enumerate(unit, 1):
                try:
                    result = next(results)
                except Exception as error:
                    _note(job, WorkerError(describe_failure(job, error)), failures)
                    pending.extendleft(one_by_one(unit[number:])[::-1])
                    break
                yield job, result


class ProcessExecutor(Executor):
    """Runs the jobs in single-threaded processes, one for each core, that live until `close`.

    Processes are spawned when `map` first needs them and keep their data between calls. They ignore Ctrl-C, which is
    the parent's to handle, and end when the parent ends, however it does. A process that dies (killed, out of memory)
    is replaced and its job tried once more; dying again is a WorkerError. With cohorts, jobs that can be trained at
    once are divided among the processes; those of a cohort whose process dies are tried again one by one.

    As wherever processes are spawned, a script that makes one needs `if __name__ == "__main__":`.
    """

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        workers: int | None = None,
        device: str = "cpu",
        cohorts: bool = False,
        exact: bool = False,
    ) -> None:
        """`datasets`: by the name that the jobs use, shared with the workers; workers: None for one per core.

        cohorts, exact: as for `SerialExecutor`.
        """
        most = max(64, 8 * usable_cores())
        if workers is not None and not 1 <= workers <= most:
            raise ConfigError(f"got {workers} workers, expected 1 to {most}; more than {usable_cores()} gain nothing")
        self.workers = usable_cores() if workers is None else workers
        self.cohorts = cohorts
        trainer = CohortTrainer if cohorts else Trainer
        self.run: Callable[[Job], Result] = trainer(share(datasets), device, exact=exact)
        self._pool: list[Worker] = []
        self._seconds: dict[tuple[Task, str], float] = {}

    def map(self, jobs: Sequence[Job], failures: Failures | None = None) -> Results:
        """Yield every job with its result as it finishes; jobs that took long before start first."""
        if self._busy():
            raise WorkerError("got a second map while the first goes on; finish or close that, or use another executor")
        jobs = self._longest_first(jobs)
        pending, deaths = deque(by_cohort(jobs, self.workers) if self.cohorts else one_by_one(jobs)), Counter[str]()
        try:
            while pending or self._busy():
                self._assign(pending)
                finished: list[tuple[Job, Result]] = []
                failed: list[tuple[Job, WorkerError]] = []
                for worker, job in self._wait():
                    unit = worker.jobs
                    try:
                        result = worker.receive()
                    except WorkerDiedError as death:
                        self._discard(worker)
                        deaths[job.key] += 1
                        if deaths[job.key] > 1:
                            failed.append((job, WorkerError(str(death))))
                            unit.popleft()
                        pending.extendleft(one_by_one(tuple(unit))[::-1])
                    except WorkerError as error:
                        failed.append((job, error))
                        pending.extendleft(one_by_one(tuple(unit)[1:])[::-1])
                        worker.jobs.clear()
                    else:
                        finished += [(job, result)] if result is not None else []
                if failures is not None or not failed:
                    self._assign(pending)  # before the caller gets to store what is finished: no core waits for that
                for job, result in finished:
                    self._seconds[job.task, job.method.name] = result.wall_time
                    yield job, result
                for job, failure in failed:
                    _note(job, failure, failures)
        finally:
            for worker in self._busy():
                self._discard(worker)

    def close(self) -> None:
        """End the processes."""
        while self._pool:
            self._discard(self._pool[-1])

    def _longest_first(self, jobs: Sequence[Job]) -> list[Job]:
        """Order jobs by how long the last one of the same task and method took, so that none is left for the end.

        What is new comes first, in the order given.
        """
        return sorted(jobs, key=lambda job: -self._seconds.get((job.task, job.method.name), math.inf))

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._pool if worker.job is not None]

    def _wait(self) -> list[tuple[Worker, Job]]:
        """Block until a worker has something to say, and return those that have, with their jobs."""
        speaking = wait([worker.connection for worker in self._pool])
        return [(w, w.job) for w in self._pool if w.connection in speaking and w.job is not None]

    def _assign(self, pending: deque[Unit]) -> None:
        """Give pending units to idle workers, starting workers as long as there are fewer than allowed."""
        for worker in [w for w in self._pool if not w.alive]:
            if worker.job is None:
                self._discard(worker)
        while pending:
            idle = next((worker for worker in self._pool if worker.job is None), None)
            if idle is None:
                if len(self._pool) == self.workers:
                    return
                self._pool.append(idle := Worker(self.run))
            idle.give(pending.popleft())

    def _discard(self, worker: Worker) -> None:
        self._pool.remove(worker)
        worker.kill()


def _note(job: Job, error: WorkerError, failures: Failures | None) -> None:
    if failures is None:
        raise error
    failures[job.key] = str(error)


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def executor_for(
    datasets: Mapping[str, Dataset],
    workers: int | None = None,
    device: str = "cpu",
    cohorts: bool = False,
    exact: bool = False,
) -> Executor:
    """Return the executor for so many workers: this process for one, a pool for more.

    workers: None for one per usable core, or for one on a GPU. cohorts: train jobs that differ in their Taylor loss
        only at once (see `runs.cohort`). exact: see `runs.run_job`.
    """
    if workers is None:
        workers = 1 if device == "cuda" else usable_cores()
    if workers == 1:
        return SerialExecutor(datasets, device, cohorts, exact)
    return ProcessExecutor(datasets, workers, device, cohorts, exact)
