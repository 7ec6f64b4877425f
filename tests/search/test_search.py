"""The search as a whole, on trainings that are real but tiny, and on made-up ones where only the logic matters."""

import dataclasses

import numpy as np
import pytest

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ConfigError
from autorobustloss.losses import create_loss
from autorobustloss.losses.cards import LossCard
from autorobustloss.losses.gated.core import Gate
from autorobustloss.losses.taylor.form import CanonicalForm
from autorobustloss.methods import MethodSpec, card_method
from autorobustloss.runs import Job, Result, SerialExecutor, Store, Task
from autorobustloss.runs.cohort import by_cohort
from autorobustloss.search import GatedSpace, Reporter, SearchConfig, Space, run_search
from autorobustloss.search.card import make_card
from autorobustloss.search.search import _Trial, generation_seeds, race_sizes, tasks_of
from autorobustloss.search.strategy import Strategy
from autorobustloss.training import History, TrainingProtocol

PROTOCOL = TrainingProtocol(lr=0.1, batch_size=128, epochs=2, evaluate_every=2)
DIGITS = load_dataset("digits")
SPEC = DataSpec("digits", train_size=300, valid_size=100, fingerprint=DIGITS.fingerprint)
TASKS = tuple(Task(SPEC, noise, "linear", PROTOCOL) for noise in ("sym:0.4", "clean"))
THREE = tuple(Task(SPEC, f"sym:0.{i}", "linear", PROTOCOL) for i in (2, 4, 6))
CONFIG = SearchConfig(TASKS, population=5, generations=3, finalists_seeds=2)


class FakeExecutor:
    """Gives each job an accuracy computed from its loss: the nearer its k to 1 the better."""

    def __init__(self, stopped=lambda job: ""):
        self.jobs = []
        self.stopped = stopped

    def map(self, jobs, failures=None):
        for job in jobs:
            self.jobs.append(job)
            taylor = job.method.name == "taylor"
            k = create_loss("taylor", **job.method.options).canonical().k if taylor else 0.0
            accuracy = 1 / (1 + (k - 1) ** 2)
            scores = {split: [accuracy] for split in job.evaluate}
            history = History(epochs=[1], **scores, train_loss=[0.0], train_accuracy=[0.0],
                              stopped=self.stopped(job), steps=1)  # fmt: skip
            yield job, make_result(job, history)

    def close(self):
        pass


def make_result(job, history):
    return Result(job.key, history, 0.4, 0.0, "cpu", "here", {}, processor="Z80", blas="by hand", exact=True)


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


def test_the_origin_is_that_of_all_trainings():
    class Everywhere(FakeExecutor):
        def __init__(self, lax):
            super().__init__()
            self.lax = lax

        def map(self, jobs, failures=None):
            for job, result in super().map(jobs, failures):
                yield job, dataclasses.replace(result, processor=f"{job.noise_seed}", exact=job.noise_seed != self.lax)

    draws = [generation_seeds(0, g)[0] for g in (1, 2, 3, -1, -2)]
    for lax, exact in ((None, True), (draws[0], False), (draws[-1], False)):
        origin = search(executor=Everywhere(lax)).origin
        assert set(origin.processor) == set(map(str, draws))
        assert origin.exact is exact


def test_a_search_that_has_converged_stops(monkeypatch):
    told = []
    monkeypatch.setattr(Strategy, "converged", property(lambda self: len(told) >= 2))
    tell = Strategy.tell
    monkeypatch.setattr(Strategy, "tell", lambda self, *a: (told.append(a), tell(self, *a))[1])
    outcome = search(dataclasses.replace(CONFIG, generations=5), FakeExecutor())
    assert outcome.converged
    assert [g.number for g in outcome.generations] == [1, 2]
    assert (
        not search(dataclasses.replace(CONFIG, generations=1, seed=1), FakeExecutor()).generations[0].loss["log_power"]
    )


def test_a_reporter_hears_of_everything():
    heard = []

    class Listener(Reporter):
        def on_generation_start(self, number, jobs, rejected):
            heard.append(("start", number, jobs, rejected))

        def on_result(self, job, result, cached):
            heard.append(("result", cached))

        def on_generation(self, generation):
            heard.append(("end", generation))

        def on_finalists(self, jobs):
            heard.append(("finalists", jobs))

    config = dataclasses.replace(CONFIG, generations=2)
    outcome = search(config, FakeExecutor(), reporter=Listener())
    expected = []
    for generation in outcome.generations:
        jobs = len(TASKS) * (config.population - generation.rejected)
        expected += [("start", generation.number, jobs, generation.rejected)]
        expected += [("result", False)] * jobs + [("end", generation)]
    rescored = len(outcome.finalists) * len(TASKS) * config.finalists_seeds
    assert heard == [*expected, ("finalists", rescored), *[("result", False)] * rescored]


def test_a_finalist_that_the_screen_rejects_is_scored_as_none(monkeypatch):
    """The mean of a distribution may be rejected where none of its candidates was."""
    accepts = iter([True] * CONFIG.population + [False, True])
    monkeypatch.setattr(_Trial, "accepts", lambda *_: next(accepts))
    outcome = search(dataclasses.replace(CONFIG, generations=1), FakeExecutor())
    mean, best = outcome.finalists
    assert (mean.origin, mean.accuracy, mean.per_task) == ("mean", None, ())
    assert outcome.winner == best


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


def test_a_race_trains_less_and_still_climbs():
    executor = FakeExecutor()
    tasks = tuple(Task(SPEC, f"sym:0.{i}", "linear", PROTOCOL) for i in (2, 4, 6))
    config = dataclasses.replace(CONFIG, tasks=tasks, population=12, generations=25, race=0.5)
    outcome = search(config, executor)
    assert outcome.winner.accuracy > 0.99 > outcome.generations[0].mean
    first = outcome.generations[0]
    draws = generation_seeds(config.seed, 1)
    of_first = [job for job in executor.jobs if (job.noise_seed, job.seed) == draws]
    alive = 12 - first.rejected
    assert [sum(job.task == t for job in of_first) for t in tasks] == race_sizes(alive, 3, 0.5)
    assert first.trained == len(of_first) < 3 * alive


@pytest.mark.parametrize("race", [0.3, 0.55, 0.9])
def test_a_race_goes_on_with_the_share_rounded_up(race):
    executor = FakeExecutor()
    config = dataclasses.replace(CONFIG, tasks=THREE, population=7, generations=1, race=race)
    first = search(config, executor).generations[0]
    draws = generation_seeds(config.seed, 1)
    counts = [sum(j.task == t and (j.noise_seed, j.seed) == draws for j in executor.jobs) for t in THREE]
    assert counts == race_sizes(7 - first.rejected, 3, race)
    assert first.trained == sum(counts)


def test_a_race_keeps_the_best_and_they_outrank_the_rest(monkeypatch):
    """Each candidate's score is its loss's alone here, so the fitness must have the order of a search with no race."""
    tasks = tuple(Task(SPEC, f"sym:0.{i}", "linear", PROTOCOL) for i in (2, 4, 6))
    told = []
    tell = Strategy.tell
    monkeypatch.setattr(
        Strategy, "tell", lambda self, points, fitness: (told.append(fitness), tell(self, points, fitness))
    )
    for race in (1.0, 0.4):
        search(SearchConfig(tasks, population=9, generations=1, race=race), FakeExecutor())
    assert np.array_equal(np.argsort(told[0], kind="stable"), np.argsort(told[1], kind="stable"))


def test_who_diverges_in_a_race_is_counted():
    unlucky = set()

    def one_on_the_second_task(job):
        if job.task.noise == "sym:0.4" and not unlucky:
            unlucky.add(job.method)
        return "diverged" if job.task.noise == "sym:0.4" and job.method in unlucky else ""

    tasks = tuple(Task(SPEC, f"sym:0.{i}", "linear", PROTOCOL) for i in (2, 4))
    outcome = search(
        dataclasses.replace(CONFIG, tasks=tasks, generations=1, race=0.6), FakeExecutor(one_on_the_second_task)
    )
    assert outcome.generations[0].diverged == 1


def scored(accuracy, stopped=lambda job: ""):
    """Return an executor that gives each job the accuracy that a function says."""

    class Scored(FakeExecutor):
        def map(self, jobs, failures=None):
            for job in jobs:
                self.jobs.append(job)
                history = History([1], valid_clean=[accuracy(job)], stopped=stopped(job), steps=1)
                yield job, make_result(job, history)

    return Scored()


def finalists_of(config, scores, fitness="accuracy", lost=()):
    """Return the outcome of a search whose finalists, "mean" and "best", score so on each task."""
    fresh = [generation_seeds(config.seed, -1 - i) for i in range(config.finalists_seeds)]
    order, seen = ["mean", "best"], {}

    def origin(job):
        return order[seen.setdefault(job.method, len(seen))]

    def accuracy(job):
        if (job.noise_seed, job.seed) not in fresh:
            return 0.5
        return scores[origin(job)][config.tasks.index(job.task)]

    def stopped(job):
        return "diverged" if (job.noise_seed, job.seed) in fresh and origin(job) in lost else ""

    return search(dataclasses.replace(config, fitness=fitness), scored(accuracy, stopped))


@pytest.mark.parametrize(
    ("scores", "fitness", "winner"),
    [
        ({"mean": [0.5, 0.5, 0.5], "best": [0.6, 0.6, 0.6]}, "accuracy", "best"),
        ({"mean": [0.6, 0.6, 0.6], "best": [0.5, 0.5, 0.5]}, "accuracy", "mean"),
        ({"mean": [0.5, 0.5, 0.5], "best": [0.5, 0.5, 0.5]}, "accuracy", "mean"),
        ({"mean": [0.2, 0.5, 0.5], "best": [0.9, 0.4, 0.4]}, "accuracy", "best"),
        ({"mean": [0.2, 0.5, 0.5], "best": [0.9, 0.4, 0.4]}, "rank", "mean"),
        ({"mean": [0.5, 0.5, 0.98], "best": [0.6, 0.6, 0.9]}, "accuracy", "best"),
        ({"mean": [0.5, 0.5, 0.98], "best": [0.6, 0.6, 0.9]}, "odds", "mean"),
    ],
)
def test_the_winner_is_the_fitter_finalist_on_fresh_draws(scores, fitness, winner):
    config = dataclasses.replace(CONFIG, tasks=THREE, generations=1)
    outcome = finalists_of(config, scores, fitness)
    assert [f.origin for f in outcome.finalists] == ["mean", "best"]
    assert outcome.winner.origin == winner
    for finalist in outcome.finalists:
        assert finalist.per_task == pytest.approx(scores[finalist.origin])
        assert finalist.accuracy == pytest.approx(np.mean(scores[finalist.origin]))


@pytest.mark.parametrize(("lost", "winner"), [("mean", "best"), ("best", "mean")])
def test_a_finalist_that_diverges_never_wins(lost, winner):
    config = dataclasses.replace(CONFIG, tasks=THREE, generations=1)
    outcome = finalists_of(config, {lost: [0.9] * 3, winner: [0.1] * 3}, lost=(lost,))
    assert outcome.winner.origin == winner
    assert {f.origin: f.accuracy for f in outcome.finalists}[lost] is None


def test_a_search_both_of_whose_finalists_diverge_has_no_winner():
    config = dataclasses.replace(CONFIG, tasks=THREE, generations=1)
    with pytest.raises(ConfigError, match="no candidate"):
        finalists_of(config, {"mean": [0.9] * 3, "best": [0.9] * 3}, lost=("mean", "best"))


def test_a_finalist_that_diverges_with_one_draw_of_one_task_never_wins():
    config = dataclasses.replace(CONFIG, tasks=THREE, generations=1)
    unlucky = []

    def once(job):
        fresh = (job.noise_seed, job.seed) == generation_seeds(config.seed, -2)
        if fresh and job.task == THREE[1] and not unlucky:
            unlucky.append(job)
        return "diverged" if job in unlucky else ""

    outcome = search(config, scored(lambda job: 0.9, once))
    assert [f.accuracy is None for f in outcome.finalists] == [True, False]
    assert outcome.winner.origin == "best"


def test_the_best_candidate_is_the_first_with_the_best_mean_over_tasks():
    seen = {}

    def accuracy(job):
        number = seen.setdefault(job.method, len(seen))
        return {1: [0.9, 0.1], 2: [0.6, 0.6], 4: [0.6, 0.6]}.get(number, [0.3, 0.3])[TASKS.index(job.task)]

    config = dataclasses.replace(CONFIG, generations=2)
    outcome = search(config, scored(accuracy))
    assert outcome.finalists[1].method == list(seen)[2]
    assert outcome.generations[0].best == pytest.approx(0.6)
    assert outcome.generations[1].best == pytest.approx(0.3)
    assert outcome.generations[0].mean == pytest.approx((0.3 + 0.5 + 0.6 + 0.3 + 0.6) / 5)
    assert outcome.generations[0].worst == pytest.approx(0.3)


def test_who_leaves_a_race_early_is_not_the_best():
    """It met the easy task only, so that its mean is above that of all who met the hard ones."""
    order = {}

    def accuracy(job):
        number = order.setdefault(job.method, len(order))
        return 0.9 - 0.01 * number if job.task == THREE[0] else 0.1 + 0.01 * number

    config = dataclasses.replace(CONFIG, tasks=THREE, race=0.5)
    executor = scored(accuracy)
    outcome = search(config, executor)
    fresh = {generation_seeds(config.seed, -1 - i) for i in range(config.finalists_seeds)}
    finished = {j.method for j in executor.jobs if j.task == THREE[2] and (j.noise_seed, j.seed) not in fresh}
    best = outcome.finalists[1].method
    assert best in finished
    assert 2 * len(finished) < len({job.method for job in executor.jobs})
    means = {m: np.mean([accuracy(Job(t, m)) for t in THREE]) for m in finished}
    assert means[best] == pytest.approx(max(means.values()))


def test_rivals_are_ranked_with_but_never_win(monkeypatch):
    """A rival that beats all candidates costs each of them a rank and changes nothing else."""
    told = {}
    monkeypatch.setattr(Strategy, "tell", lambda self, points, fitness: told.update({len(rivals): fitness}))
    best = MethodSpec.of("taylor", theta=CanonicalForm((0.0,) * 3, (0.0,) * 2, 1.0).theta())
    for rivals in ((), (best,)):
        executor = FakeExecutor()
        config = SearchConfig(TASKS, population=6, generations=1, fitness="rank", rivals=rivals)
        outcome = search(config, executor)
        trained = [job for job in executor.jobs if job.method == best]
        assert {job.task for job in trained} == (set(TASKS) if rivals else set())
        assert outcome.generations[0].trained == config.jobs_per_generation == (6 + len(rivals)) * 2
        assert outcome.winner.method != best
    assert len(told[0]) == len(told[1]) == 6
    assert told[1] == [value - 1 for value in told[0]], "the rival is the best of all, so every rank is one more"


def test_noisy_validation_scores_everything_where_it_is_asked_for():
    executor = FakeExecutor()
    noisy = dataclasses.replace(CONFIG, fitness_on="noisy")
    outcome = search(noisy, executor)
    assert {job.evaluate for job in executor.jobs} == {("valid_noisy",)}
    assert outcome.winner == search(CONFIG, FakeExecutor()).winner  # the scores are made up, and the same
    assert search(noisy).winner.accuracy > 0.2  # real trainings


def test_rivals_have_their_authors_values_for_the_classes_of_each_task():
    many = Task(DataSpec("digits[split=26]", train_size=300, valid_size=100), "clean", "linear", PROTOCOL)
    sce, own = MethodSpec.of("sce"), MethodSpec.of("sce", alpha=0.5)
    config = dataclasses.replace(CONFIG, tasks=(TASKS[0], many), fitness="rank", generations=1, rivals=(sce, own))
    for values, expected in (("defaults", sce), ("authors", MethodSpec.of("sce", alpha=6, beta=0.1))):
        executor = FakeExecutor()
        with Store(":memory:") as store:
            run_search(
                dataclasses.replace(config, rival_values=values),
                {"digits": 10, "digits[split=26]": 26},
                store,
                executor,
            )
        trained = {(job.task.dataset.name, job.method) for job in executor.jobs if job.method.name == "sce"}
        assert trained == {("digits", sce), ("digits", own), ("digits[split=26]", expected), ("digits[split=26]", own)}


def test_a_configuration_is_written_as_before_the_choices_it_does_not_make():
    plain = CONFIG.to_dict()
    assert not {"fitness_on", "rival_values"} & plain.keys()
    changed = dataclasses.replace(CONFIG, fitness_on="noisy", rival_values="authors").to_dict()
    assert changed == {**plain, "fitness_on": "noisy", "rival_values": "authors"}


def test_finalists_meet_fresh_draws():
    generations = {generation_seeds(0, g) for g in range(1, 100)}
    assert not generations & {generation_seeds(0, -1 - i) for i in range(10)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "no tasks"),
        ({"race": 0.0}, "race=0.0"),
        ({"race": 1.5}, "race=1.5"),
        ({"generations": 0}, "generations=0"),
        ({"tasks_per_generation": 3}, "tasks_per_generation=3"),
        ({"fitness": "acuracy"}, "did you mean 'accuracy'"),
        ({"start": "here"}, "start 'here'"),
        ({"fitness_on": "nosy"}, "did you mean 'noisy'"),
        ({"rival_values": "author"}, "did you mean 'authors'"),
        ({"rivals": (MethodSpec.of("ce"),)}, "expected fitness='rank' and no race"),
        ({"rivals": (MethodSpec.of("ce"),), "fitness": "rank", "race": 0.5}, "expected fitness='rank' and no race"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_jobs_are_jobs():
    executor = FakeExecutor()
    search(executor=executor)
    assert all(isinstance(job, Job) and Job.from_dict(job.to_dict()) == job for job in executor.jobs)


def test_a_search_over_gated_losses_replays_from_its_store_and_its_card(tmp_path):
    config = dataclasses.replace(CONFIG, space=GatedSpace(), start="gated", generations=2)
    one = search(config, store=Store(tmp_path / "s.sqlite"))
    assert one.winner.method.name == "gated"
    assert one.winner.accuracy > 0.2
    assert set(one.generations[0].loss) == set(Gate._fields)
    trained_again = FakeExecutor()
    assert search(config, trained_again, Store(tmp_path / "s.sqlite")) == one
    assert not trained_again.jobs
    card = make_card(config, one, "found")
    again = LossCard.from_json(card.to_json())
    assert again == card
    assert card_method(again) == one.winner.method
    assert again.provenance["generations"][0]["q"] == one.generations[0].loss["q"]
    assert again.provenance["search"]["space"] == {"name": "gated", "order": 2}


def test_a_gated_job_is_a_function_of_its_spec():
    """A loss that remembers what it was trained on is made anew for every training."""
    method = MethodSpec.of("gated", q=0.5, r=2.0, progress=3.0)
    jobs = [Job(TASKS[0], method, evaluate=("test",)), Job(TASKS[1], method, evaluate=("test",))]
    runs = [[r.history for _, r in SerialExecutor({"digits": DIGITS}).map(order)] for order in (jobs, jobs[::-1])]
    assert runs[0] == runs[1][::-1]
    assert by_cohort(jobs) == [(job,) for job in jobs]  # what remembers batches is not stacked
