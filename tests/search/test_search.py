"""The search as a whole, on trainings that are real but tiny, and on made-up ones where only the logic matters."""

import dataclasses

import numpy as np
import pytest

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ConfigError
from autorobustloss.jobs import Job, Result, SerialExecutor, Store, Task
from autorobustloss.losses import create_loss
from autorobustloss.search import SearchConfig, Space, run_search
from autorobustloss.search.search import generation_seeds, tasks_of
from autorobustloss.training import History, Protocol

PROTOCOL = Protocol(lr=0.1, batch_size=128, epochs=2, evaluate_every=2)
DIGITS = load_dataset("digits")
SPEC = DataSpec("digits", train_size=300, valid_size=100, fingerprint=DIGITS.fingerprint)
TASKS = tuple(Task(SPEC, noise, "linear", PROTOCOL) for noise in ("sym:0.4", "clean"))
CONFIG = SearchConfig(TASKS, population=5, generations=3, finalists_seeds=2)


class FakeExecutor:
    """Gives each job an accuracy computed from its loss: the nearer its k to 1 the better."""

    def __init__(self, stopped=lambda job: ""):
        self.jobs = []
        self.stopped = stopped

    def map(self, jobs):
        for job in jobs:
            self.jobs.append(job)
            loss = create_loss(job.method.name, **job.method.options)
            accuracy = 1 / (1 + (loss.canonical().k - 1) ** 2)
            history = History(epochs=[1], valid_clean=[accuracy], train_loss=[0.0], train_accuracy=[0.0],
                              stopped=self.stopped(job), steps=1)  # fmt: skip
            yield job, make_result(job, history)

    def close(self):
        pass


def make_result(job, history):
    values = {f.name: "" for f in dataclasses.fields(Result)}
    template = Result(**{**values, "key": job.key, "history": history, "noise_rate": 0.4, "wall_time": 0.0,
                         "versions": {}, "peak_memory": 0})  # fmt: skip
    return template


def search(config=CONFIG, executor=None, store=None, reporter=None):
    with Store(":memory:") if store is None else store as opened:
        executor = executor or SerialExecutor({"digits": DIGITS})
        return run_search(config, {"digits": 10}, opened, executor, reporter)


def test_it_climbs():
    config = dataclasses.replace(CONFIG, population=12, generations=25)
    outcome = search(config, FakeExecutor())
    assert outcome.winner.accuracy > 0.99 > outcome.generations[0].mean


def test_real_trainings_replay_bit_for_bit():
    one, two = search(), search()
    assert one == two
    assert one.winner.accuracy > 0.2


def test_a_rerun_trains_nothing(tmp_path):
    executor = FakeExecutor()
    one = search(executor=executor, store=Store(tmp_path / "s.sqlite"))
    trained = len(executor.jobs)
    two = search(executor=executor, store=Store(tmp_path / "s.sqlite"))
    assert one == two
    assert len(executor.jobs) == trained == len({job.key for job in executor.jobs})


def test_candidates_of_a_generation_share_their_random_numbers():
    executor = FakeExecutor()
    search(executor=executor)
    seeds = {(job.noise_seed, job.seed) for job in executor.jobs}
    assert len(seeds) == CONFIG.generations + CONFIG.finalists_seeds
    assert len({job.split_seed for job in executor.jobs}) == 1


def test_a_search_never_sees_the_test_split():
    executor = FakeExecutor()
    search(executor=executor)
    assert {job.evaluate for job in executor.jobs} == {("valid_clean",)}


def test_divergence_is_a_value():
    seen = {}

    def every_third(job):
        seen.setdefault(job.method, len(seen))
        return "diverged" if seen[job.method] % 3 == 0 else ""

    outcome = search(dataclasses.replace(CONFIG, generations=6), FakeExecutor(every_third))
    assert sum(g.diverged for g in outcome.generations) > 0
    assert all(np.isfinite([g.best, g.mean, g.worst]).all() for g in outcome.generations)


def test_rejection_costs_no_training():
    executor = FakeExecutor()
    config = dataclasses.replace(CONFIG, start="zero", population=12, space=Space("canonical"))
    outcome = search(config, executor)
    first = outcome.generations[0]
    assert 0 < first.rejected < 12
    assert first.trained == (12 - first.rejected) * len(TASKS)


def test_nothing_survives():
    with pytest.raises(ConfigError, match="no candidate"):
        search(executor=FakeExecutor(lambda job: "diverged"))


def test_a_sample_of_tasks_is_seeded_and_changes_from_generation_to_generation():
    many = tuple(Task(SPEC, f"sym:0.{i}", "linear", PROTOCOL) for i in range(1, 9))
    config = dataclasses.replace(CONFIG, tasks=many, tasks_per_generation=3)
    samples = [tasks_of(config, g) for g in range(1, 9)]
    assert all(len(set(s)) == 3 for s in samples)
    assert samples == [tasks_of(config, g) for g in range(1, 9)]
    assert len(set(samples)) > 1
    assert samples != [tasks_of(dataclasses.replace(config, seed=1), g) for g in range(1, 9)]


def test_finalists_meet_fresh_draws():
    generations = {generation_seeds(0, g) for g in range(1, 100)}
    assert not generations & {generation_seeds(0, -1 - i) for i in range(10)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "no tasks"),
        ({"generations": 0}, "generations=0"),
        ({"tasks_per_generation": 3}, "tasks_per_generation=3"),
        ({"fitness": "acuracy"}, "did you mean 'accuracy'"),
        ({"start": "here"}, "start 'here'"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_jobs_are_jobs():
    executor = FakeExecutor()
    search(executor=executor)
    assert all(isinstance(job, Job) and Job.from_dict(job.to_dict()) == job for job in executor.jobs)
