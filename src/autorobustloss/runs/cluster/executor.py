"""`RayExecutor`: runs the jobs on a Ray cluster; the store stays with the driver."""

from __future__ import annotations

import math
import pickle
import queue
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from autorobustloss.data import Dataset
from autorobustloss.errors import ClusterError, ConfigError, WorkerError
from autorobustloss.runs.cluster import node
from autorobustloss.runs.cluster.connection import RUNTIME_ENVIRONMENT, Connection, import_ray, unfit, unlike
from autorobustloss.runs.cluster.groups import Group, take
from autorobustloss.runs.cohort import Unit
from autorobustloss.runs.executors import Durations, Executor, Failures, Results, try_again, units_of
from autorobustloss.runs.job import Job
from autorobustloss.runs.result import Result
from autorobustloss.runs.runtime import Runtime
from autorobustloss.runs.worker import Run

LOOK_EVERY = 2.0
"""Seconds between looks at the head and at what nodes there are."""
DEATHS = {"worker": 1, "node": 3}
"""How many deaths a job survives: of its process, as in the pool; of its node, which is seldom the job's doing."""


class RayExecutor(Executor):
    """Runs the jobs on the cores, or the GPUs, of a Ray cluster, one at a time on each.

    The connection is made when `map` first needs it. Then every node is compared with this process: other versions of
    Python, PyTorch, NumPy or this library, other code of it, or another compiled loss is a ClusterError before anything
    trains. The data lie once in the memory of each node; jobs travel in groups where they are short; those that took
    long before start first. Nodes that join are used at once. A job whose worker process dies, or whose node does, is
    tried again. Ctrl-C, an error or the end of this process ends what it runs on the cluster; what finished is stored.

    Results are those of this machine to the last bit where the nodes are of its type, else to rounding.
    """

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        runtime: Runtime | None = None,
        address: str | None = None,
        workers: int | None = None,
        gpus_per_worker: float = 0.0,
    ) -> None:
        """`datasets`: by the name that the jobs use.

        runtime: its workers do not count here. address: see `Connection`. workers: jobs at once, in all; None for as
        many as there is room for, whenever there is. gpus_per_worker: share of a GPU that each has, so 0.25 for four on
        one; the runtime's device is then "cuda".

        Raises ConfigError for numbers that cannot be, MissingDependencyError without Ray.
        """
        import_ray()
        self.runtime = runtime or Runtime("cuda" if gpus_per_worker else "cpu")
        if workers is not None and not 1 <= workers <= 100_000:
            raise ConfigError(f"got {workers} workers, expected 1 to 100000, or none for as many as there is room for")
        if not 0 <= gpus_per_worker <= 64 or (gpus_per_worker > 1 and gpus_per_worker % 1):
            raise ConfigError(f"got {gpus_per_worker} GPUs per worker, expected a share from 0 to 1, or a whole number")
        if (self.runtime.device == "cuda") != (gpus_per_worker > 0):
            raise ConfigError(
                f"got device {self.runtime.device} with {gpus_per_worker} GPUs per worker, expected cuda with more "
                "than 0, or cpu with 0"
            )
        self.address, self.workers, self.gpus_per_worker = address, workers, gpus_per_worker
        self.run: Run = node.Training(datasets, self.runtime)
        self._durations = Durations()
        self._cluster: Connection | None = None
        self._shared: Any = None
        self._train: Any = None
        self._flight: dict[Future[node.Report], tuple[Any, Group]] = {}
        self._landed: queue.SimpleQueue[Future[node.Report]] = queue.SimpleQueue()
        self._loads: dict[str, float] = {}
        self._places, self._looked, self._mapping = 0, 0.0, False

    @property
    def load(self) -> str:
        """What runs where, in a line for progress: the load of a core, 1 where one job runs on each."""
        if self._cluster is None:
            return ""
        running = min(len(self._flight), self._most())
        loads = sorted((load, host) for host, load in self._loads.items())
        least = f", least {loads[0][0]:.2f} on {loads[0][1]}" if len(loads) > 1 else ""
        nodes = f", load {sum(load for load, _ in loads) / len(loads):.2f} a core{least}" if loads else ""
        return f"{running} of {self._places} workers busy{nodes}"

    def map(self, jobs: Sequence[Job], failures: Failures | None = None, ahead: Sequence[Job] = ()) -> Results:
        """Yield every job with its result as it finishes; jobs that took long before start first.

        ahead: begun where a worker would be idle; those that finish are yielded too, the others go on, and a later map
        that has them takes them over.
        """
        if self._mapping:
            raise WorkerError("got a second map while the first goes on; finish or close that, or use another executor")
        if not jobs:
            return
        self._mapping = True
        try:
            self._join()
            yield from self._run({job.key: job for job in jobs}, ahead, failures)
        except BaseException:
            self._cancel()
            raise
        finally:
            self._mapping = False

    def close(self) -> None:
        """End what runs, and leave the cluster."""
        if self._cluster is not None:
            self._cancel()
            self._cluster.close()
            self._cluster = self._shared = self._train = None

    def _run(self, wanted: dict[str, Job], ahead: Sequence[Job], failures: Failures | None) -> Results:
        flying = {job.key for _, group in self._flight.values() for unit in group for job in unit}
        new = [job for key, job in wanted.items() if key not in flying]
        pending = units_of(self._durations.longest_first(new), self.runtime, self._most())
        known = flying | wanted.keys()
        later = units_of([job for job in ahead if job.key not in known], self.runtime, self._most())
        deaths: Counter[Unit] = Counter()
        while wanted:
            self._look()
            self._submit(pending, later, deaths)
            finished: list[tuple[Unit, Sequence[Result]]] = []
            failed: list[tuple[Unit, WorkerError]] = []
            for future in self._wait():
                _, group = self._flight.pop(future)
                if (error := future.exception()) is not None:
                    failed += self._lost(group, error, pending, deaths)
                    continue
                report = future.result()
                if report.fault:
                    raise unlike([f"  {report.node}: {report.fault}"])
                self._loads[report.node] = report.load
                for unit, outcome in zip(group, report.outcomes):
                    if isinstance(outcome, WorkerError):
                        failed.append((unit, outcome))
                    else:
                        finished.append((unit, outcome))
            if failures is not None or not failed:
                self._submit(pending, later, deaths)  # before the caller gets to store what is finished
            for unit, results in finished:
                for job, result in zip(unit, results):
                    self._durations.note(job, result)
                    wanted.pop(job.key, None)
                    yield job, result
            for unit, failure in failed:
                if unit[0].key in wanted:  # else it was begun ahead, and will fail when its turn comes
                    try_again(pending, unit, failure, failures)
                    if failures is not None and unit[0].key in failures:
                        del wanted[unit[0].key]

    def _join(self) -> None:
        """Connect, compare the nodes with this process, and put what trains into the object store, once."""
        if self._cluster is not None:
            return
        cluster = Connection(self.address)
        try:
            self._places = cluster.places(self.gpus_per_worker)
            if self._places == 0 and self.workers is None:
                what = f"cores beside {self.gpus_per_worker:g} GPUs" if self.gpus_per_worker else "cores"
                raise ConfigError(
                    f"got a cluster without room for a worker, expected {what}; for an autoscaler to make some, say "
                    "with workers (--workers) how many"
                )
            cluster.check_nodes(node.environment(), self.gpus_per_worker)
        except BaseException:
            cluster.close()
            raise
        options = {"num_cpus": 1, "num_gpus": self.gpus_per_worker, "max_retries": 0}
        self._train = import_ray().remote(**options, runtime_env=RUNTIME_ENVIRONMENT)(node.train)
        self._cluster, self._looked = cluster, time.monotonic()
        self.use(self.run)

    def use(self, run: Run) -> None:
        """Have the nodes run this from now on: what is called with each unit of jobs there."""
        self.run = run
        self._shared = None if self._cluster is None else import_ray().put(run)

    def _most(self) -> int:
        """Return how many groups may run at once."""
        return max(1, self._places if self.workers is None else self.workers)

    def _look(self) -> None:
        """Look, now and then, at the head and at how many workers the nodes have room for."""
        cluster = self._cluster
        if cluster is not None and time.monotonic() - self._looked > LOOK_EVERY:
            if cluster.check_head():
                self._places = cluster.places(self.gpus_per_worker)
            self._looked = time.monotonic()

    def _submit(self, pending: deque[Unit], later: deque[Unit], deaths: Counter[Unit]) -> None:
        """Hand groups to Ray: one for each worker, and as many for it to have at hand when those are done."""

        def seconds(unit: Unit) -> float:
            return math.inf if deaths[unit] else sum(map(self._durations.of, unit))

        most = self._most()
        while (pending or later) and len(self._flight) < (2 * most if self.workers is None else most):
            group = take(pending or later, seconds, most)
            reference = self._train.remote(node.environment(), [self._shared], pickle.dumps(group))
            future = reference.future()
            self._flight[future] = reference, group
            future.add_done_callback(self._landed.put)

    def _wait(self) -> list[Future[node.Report]]:
        """Return the groups that have ended, once there is one, or none after a while."""
        ended = list[Future[node.Report]]()
        with suppress(queue.Empty):
            ended.append(self._landed.get(timeout=LOOK_EVERY))
            while True:
                ended.append(self._landed.get_nowait())
        return [future for future in ended if future in self._flight]

    def _lost(
        self, group: Group, error: BaseException, pending: deque[Unit], deaths: Counter[Unit]
    ) -> list[tuple[Unit, WorkerError]]:
        """Put what died with its process or node before all else, each unit alone; return those that did so too often.

        Raises ClusterError where a node cannot run it at all, or the data are gone.
        """
        from ray.exceptions import NodeDiedError, ObjectLostError, RayTaskError, RuntimeEnvSetupError

        if isinstance(error, RayTaskError) and isinstance(error.cause, ObjectLostError):
            raise ClusterError(
                f"the Ray cluster lost what this run had put there ({type(error.cause).__name__}), as where its head "
                "or this node ended; finished jobs are stored. Run the same command on a cluster that stays: it goes "
                "on from there"
            ) from error
        if isinstance(error, (RayTaskError, RuntimeEnvSetupError)):
            raise unlike([f"  {unfit(error)}"]) from error
        kind = "node" if isinstance(error, NodeDiedError) else "worker"
        given_up = []
        for unit in reversed(group):
            deaths[unit] += 1
            if deaths[unit] > DEATHS[kind]:
                given_up.append((unit, _obituary(unit, kind, error)))
            else:
                pending.appendleft(unit)
        return given_up

    def _cancel(self) -> None:
        """End what runs on the cluster; it holds nothing that could be lost."""
        ray = import_ray()
        with suppress(Exception):  # such as a head that is gone
            for reference, _ in self._flight.values():
                ray.cancel(reference, force=True)
        self._flight.clear()


def _obituary(unit: Unit, kind: str, error: BaseException) -> WorkerError:
    why = " ".join(str(error).split())[:300]
    return WorkerError(
        f"a {kind} ended again and again in job {unit[0].label}; finished jobs are stored. Often memory ran out: try "
        f"fewer workers on a node. Ray says: {why}"
    )
