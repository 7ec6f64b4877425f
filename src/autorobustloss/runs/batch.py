"""From jobs to results: look up, train what is missing, store at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

from autorobustloss.data import check_augment
from autorobustloss.errors import WorkerError
from autorobustloss.runs.executors import Executor, Failures
from autorobustloss.runs.job import Job
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store


def run_jobs(
    jobs: Iterable[Job],
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
    failures: Failures | None = None,
    ahead: Iterable[Job] = (),
) -> list[Result]:
    """Return the results of `jobs`, in their order; train only those that the store does not have.

    Equal jobs are trained once. Each result is committed as it arrives, then `on_result(job, result, cached)` hears of
    it, so calling again after an interruption trains only what had not finished. The numbers depend neither on the
    executor nor on the order.

    failures: where given, a job that fails is noted here (its key and what went wrong), has no result, and the others
    are finished; calling again tries it again. Without it the first failure ends everything.

    ahead: jobs that the next call will have; a cluster begins them where it would be idle, and what finishes is stored.

    Raises ConfigError for flips of digits, WorkerError when a job fails, and StoreError when a result cannot be kept;
    what was stored stays.
    """
    jobs = list(jobs)
    unique = {job.key: job for job in jobs}
    results = store.get_many(unique)
    if on_result is not None:
        for key, result in results.items():
            on_result(unique[key], result, True)
    missing = [job for key, job in unique.items() if key not in results]
    later = {job.key: job for job in ahead if job.key not in unique}
    soon = [job for key, job in later.items() if store.get(key) is None] if missing else []
    for job in [*missing, *soon]:
        check_augment(job.task.protocol.augment, job.task.dataset.name)
    if missing:
        store.check_writable()
    with closing(executor.map(missing, failures, *([soon] if soon else []))) as finished:
        for job, result in finished:
            result = store.put(job, result)
            if job.key in later:
                continue
            results[job.key] = result
            if on_result is not None:
                on_result(job, result, False)
    lost = [job.label for key, job in unique.items() if key not in results and key not in (failures or {})]
    if lost:
        raise WorkerError(f"the executor gave no result for {len(lost)} jobs, the first is {lost[0]}")
    return [results[job.key] for job in jobs if job.key in results]
