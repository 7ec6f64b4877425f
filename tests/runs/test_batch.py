"""Looking up, training what is missing, storing: with an executor that only keeps a log."""

from __future__ import annotations

import pytest

from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError, StoreError, WorkerError
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import Job, Result, Store, Task, run_jobs
from autorobustloss.training import History, TrainingProtocol

TASK = Task(DataSpec("digits"), "clean", "mlp2")
JOBS = [Job(TASK, MethodSpec("ce"), seed=seed) for seed in range(5)]


def result(job: Job) -> Result:
    return Result(job.key, History([1], [job.seed / 7]), 0.0, 1.0, "cpu", "here", {})


class Backwards:
    """An executor that finishes jobs in reverse order, and fails at one of them."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.ran: list[int] = []
        self.closed = False

    def map(self, jobs, failures=None):
        try:
            for job in reversed(jobs):
                if job.seed == self.fails_at:
                    raise WorkerError(f"job {job.label} failed")
                self.ran.append(job.seed)
                yield job, result(job)
        finally:
            self.closed = True

    def close(self) -> None: ...


def test_results_come_in_the_order_of_the_jobs_and_equal_jobs_run_once():
    executor = Backwards()
    with Store(":memory:") as store:
        results = run_jobs([*JOBS, JOBS[1], Job(TASK, MethodSpec("ce"), seed=0)], store, executor)
        assert [r.history.valid_clean[0] * 7 for r in results] == pytest.approx([0, 1, 2, 3, 4, 1, 0])
    assert executor.ran == [4, 3, 2, 1, 0]


def test_flipped_digits_are_refused_before_anything_is_trained_and_read_where_they_were():
    flipped = Job(Task(DataSpec("usps"), "clean", "vgg11", TrainingProtocol(augment="crop-flip")), MethodSpec("ce"))
    with Store(":memory:") as store:
        executor = Backwards()
        with pytest.raises(ConfigError, match=r"'usps'.*augment='crop'"):
            run_jobs([*JOBS, flipped], store, executor)
        assert executor.ran == []
        store.put(flipped, result(flipped))
        assert len(run_jobs([*JOBS, flipped], store, executor)) == 6


def test_only_what_is_missing_runs_and_everything_is_reported():
    with Store(":memory:") as store:
        run_jobs(JOBS[1:3], store, Backwards())
        executor, heard = Backwards(), []
        run_jobs(JOBS, store, executor, lambda job, result, cached: heard.append((job.seed, result.key, cached)))
        assert executor.ran == [4, 3, 0]
        assert {seed for seed, _, cached in heard if cached} == {1, 2}
        assert [seed for seed, _, cached in heard if not cached] == [4, 3, 0]
        assert all(key == JOBS[seed].key for seed, key, _ in heard)
        again = Backwards()
        assert run_jobs(JOBS, store, again) == [result(job) for job in JOBS]
        assert again.ran == []


def test_a_result_is_in_the_store_before_it_is_reported():
    with Store(":memory:") as store:
        run_jobs(
            JOBS, store, Backwards(), lambda job, *_: pytest.fail("not stored") if not store.get(job.key) else None
        )


def test_no_jobs_give_no_results():
    with Store(":memory:") as store:
        assert run_jobs([], store, Backwards()) == []


def test_what_finished_before_a_failure_stays():
    executor = Backwards(fails_at=1)
    with Store(":memory:") as store:
        with pytest.raises(WorkerError, match="seeds 0/0/1 failed"):
            run_jobs(JOBS, store, executor)
        assert store.keys() == [JOBS[seed].key for seed in (4, 3, 2)]
        again = Backwards()
        run_jobs(JOBS, store, again)
        assert again.ran == [1, 0]


def test_an_error_of_the_listener_or_the_store_cancels_what_runs():
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    executor = Backwards()
    with Store(":memory:") as store, pytest.raises(KeyboardInterrupt):
        run_jobs(JOBS, store, executor, interrupt)
    assert executor.ran == [4]
    assert executor.closed
    executor = Backwards()
    with Store(":memory:") as store:
        store._database.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreError):
            run_jobs(JOBS, store, executor)
    assert executor.ran == [4]
    assert executor.closed


def test_the_stored_result_counts_where_another_process_was_first():
    class Slow(Backwards):
        def map(self, jobs, failures=None):
            for job in jobs:
                other = Result(job.key, History([1], [0.5]), 0.0, 1.0, "cpu", "elsewhere", {})
                store.put(job, other)
                yield job, result(job)

    with Store(":memory:") as store:
        assert {r.host for r in run_jobs(JOBS, store, Slow())} == {"elsewhere"}


def test_an_executor_that_forgets_jobs_is_found_out():
    class Forgetful(Backwards):
        def map(self, jobs, failures=None):
            yield from super().map(jobs[:-2])

    with (
        Store(":memory:") as store,
        pytest.raises(WorkerError, match="no result for 2 jobs, the first is ce on digits"),
    ):
        run_jobs(JOBS, store, Forgetful())


class Fragile(Backwards):
    """An executor at which some jobs fail every time, and which notes them."""

    def __init__(self, *fail: int) -> None:
        super().__init__()
        self.fail = fail

    def map(self, jobs, failures=None):
        for job in reversed(jobs):
            if job.seed in self.fail:
                failures[job.key] = f"job {job.label} failed: no luck"
                continue
            self.ran.append(job.seed)
            yield job, result(job)


@pytest.mark.parametrize("fail", [(), (0,), (4,), (1, 2), (0, 1, 2, 3, 4)])
def test_where_failures_are_noted_the_others_finish_once(fail):
    executor, failures = Fragile(*fail), {}
    with Store(":memory:") as store:
        results = run_jobs([*JOBS, JOBS[0]], store, executor, failures=failures)
        good = [seed for seed in (*range(5), 0) if seed not in fail]
        assert [r.key for r in results] == [JOBS[seed].key for seed in good]
        assert sorted(executor.ran) == sorted(set(good))
        assert failures == {JOBS[s].key: f"job {JOBS[s].label} failed: no luck" for s in fail}
        healed = Backwards()
        run_jobs(JOBS, store, healed, failures={})
        assert sorted(healed.ran) == list(fail)
