"""The key of a job: equal for equal specs, another for every other spec, the same in every version."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import TRAINING_VERSION, Job, Task
from autorobustloss.runs.job import EVALUATIONS
from autorobustloss.training import TrainingProtocol

names = st.sampled_from(["digits", "mnist", "path/to/file.npz", "ünïcode"])
numbers = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
values = st.one_of(numbers, st.text('aé"\\', max_size=5), st.none(), st.lists(numbers, max_size=4))
options = st.dictionaries(st.sampled_from(["q", "alpha", "theta", "scale"]), values, max_size=4)
sizes = st.integers(0, 10**5)
protocols = st.builds(
    TrainingProtocol,
    optimizer=st.sampled_from(["sgd", "adam"]),
    lr=st.floats(1e-6, 10),
    epochs=st.integers(1, 200),
    milestones=st.lists(st.integers(1, 100), max_size=3, unique=True).map(sorted).map(tuple),
    lookahead=st.sampled_from([(), (5, 0.5)]),
)
jobs = st.builds(
    Job,
    st.builds(
        Task,
        st.builds(DataSpec, names, sizes, sizes, sizes, st.sampled_from(["", "ab" * 32])),
        st.sampled_from(["clean", "sym:0.8", "pair:0.4", "matrix:[[0.9,0.1],[0.2,0.8]]", "human:worse"]),
        st.sampled_from(["mlp2", "vgg11(width=0.25)"]),
        protocols,
    ),
    options.map(lambda o: MethodSpec.of("gce", **o)),
    split_seed=st.integers(0, 2**63),
    noise_seed=st.integers(0, 2**63),
    seed=st.integers(-5, 2**63),
    evaluate=st.lists(st.sampled_from(["valid_clean", "valid_noisy", "test"]), unique=True).map(tuple),
)
JOB = Job(
    Task(
        DataSpec("digits", 1000, 200, 300, "f" * 64),
        "sym:0.8",
        "mlp2",
        TrainingProtocol(schedule="steps", milestones=(3,)),
    ),
    MethodSpec.of("gce", q=0.5),
    split_seed=1,
    noise_seed=2,
    seed=3,
    evaluate=("valid_clean",),
)


def test_the_key_is_pinned():
    """A failure here means that every stored result is orphaned: only right when the numbers would change too."""
    assert JOB.key == "5e7a8c0d63efc14a143cd77146949d06933a613c8c383046a6b7744e5eb2771d"


def test_defaults_are_pinned():
    """A default is left out of the key, so a changed one needs a new TRAINING_VERSION; a new field does not."""
    defaults = Job(Task(DataSpec("digits"), "clean", "mlp2"), MethodSpec("ce")).to_dict()
    assert TRAINING_VERSION == 2
    assert [defaults[name] for name in ("split_seed", "noise_seed", "seed")] == [0, 0, 0]
    assert defaults["evaluate"] == ("valid_clean", "valid_noisy", "test")
    assert defaults["task"]["dataset"].items() >= {
        ("train_size", 0),
        ("valid_size", 0),
        ("test_size", 0),
        ("fingerprint", ""),
    }
    assert defaults["task"]["protocol"].items() >= {
        ("optimizer", "sgd"),
        ("lr", 0.01),
        ("momentum", 0.9),
        ("nesterov", False),
        ("weight_decay", 0.0),
        ("batch_size", 128),
        ("epochs", 40),
        ("schedule", "constant"),
        ("milestones", ()),
        ("gamma", 0.1),
        ("late_momentum", None),
        ("clip_norm", 0.0),
        ("lookahead", ()),
        ("average", 0.0),
        ("augment", "none"),
        ("precision", "float32"),
        ("evaluate_every", 1),
        ("patience_at_chance", 0),
    }


def test_what_is_written_of_a_spec_knows_nothing_of_later_fields_that_are_not_used():
    """So the configurations of older runs, and the stores of older versions, still compare equal."""
    assert "l1" not in JOB.to_dict()["task"]["protocol"]
    penalised = replace(JOB, task=replace(JOB.task, protocol=JOB.task.protocol.but(l1=0.5)))
    assert penalised.to_dict()["task"]["protocol"]["l1"] == 0.5
    assert Job.from_dict(json.loads(json.dumps(penalised.to_dict()))) == penalised
    assert penalised.key != JOB.key


def test_a_field_that_is_added_later_keeps_keys_and_stored_jobs():
    values = json.loads(json.dumps(JOB.to_dict()))
    del values["task"]["protocol"]["patience_at_chance"]
    del values["evaluate"]
    again = Job.from_dict(values)
    assert again == replace(JOB, evaluate=EVALUATIONS)
    assert again.key == replace(JOB, evaluate=EVALUATIONS).key


@given(jobs)
def test_through_json_and_back(job):
    again = Job.from_dict(json.loads(json.dumps(job.to_dict())))
    assert again == job
    assert again.key == job.key
    assert hash(again) == hash(job)


@given(jobs, st.randoms())
def test_the_key_does_not_depend_on_the_order_of_fields(job, random):
    def shuffled(value):
        if isinstance(value, dict):
            return {k: shuffled(value[k]) for k in random.sample(sorted(value), len(value))}
        return value

    assert Job.from_dict(shuffled(job.to_dict())).key == job.key


few = st.sampled_from(
    [0, 0.0, False, 1, 1.0, True, -0.0, 2**53, 2.0**53, 2**53 + 1, "1", None, [1], [1.0], [True, 0.5]]
)


@given(few, few)
def test_keys_are_equal_exactly_for_equal_jobs(a, b):
    first, second = (replace(JOB, method=MethodSpec.of("gce", q=q)) for q in (a, b))
    assert (first.key == second.key) == (first == second) == (hash(first) == hash(second))


def test_hyperparameters_in_any_order_are_one_job():
    a = replace(JOB, method=MethodSpec.of("sce", alpha=1, beta=2))
    b = replace(JOB, method=MethodSpec.parse("sce(beta=2.0, alpha=1.0)"))
    assert a == b
    assert a.key == b.key


OTHER = {
    "task": replace(JOB.task, model="mlp3"),
    "method": MethodSpec.of("gce", q=0.7),
    "evaluate": ("valid_clean", "test"),
    "dataset": DataSpec("mnist"),
    "noise": "sym:0.4",
    "model": "cnn4",
    "protocol": TrainingProtocol(),
    "name": "mnist",
    "fingerprint": "e" * 64,
    "optimizer": "adam",
    "schedule": "linear",
    "milestones": (4,),
    "late_momentum": 0.5,
    "lookahead": (5, 0.5),
    "augment": "crop-flip",
    "precision": "bfloat16",
    "hyperparameters": (("q", 0.6),),
}


def another(name: str, value: object) -> object:
    """Return a valid value of a field that is not `value`."""
    if name in OTHER:
        return OTHER[name]
    assert isinstance(value, (int, float)), f"a new field {name}: give it another value in OTHER"
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else (value + 1) / 3


def test_every_field_changes_the_key():
    task = JOB.task
    builders = [
        (JOB, lambda part: part),
        (task, lambda part: replace(JOB, task=part)),
        (task.dataset, lambda part: replace(JOB, task=replace(task, dataset=part))),
        (task.protocol, lambda part: replace(JOB, task=replace(task, protocol=part))),
        (JOB.method, lambda part: replace(JOB, method=part)),
    ]
    changed = [
        build(replace(part, **{field.name: another(field.name, getattr(part, field.name))})).key
        for part, build in builders
        for field in fields(part)
        if field.name not in ("folds", "fold")  # which come together
    ]
    folded = [DataSpec("digits", folds=folds, fold=fold) for folds, fold in ((3, 0), (4, 0), (4, 3))]
    changed += [replace(JOB, task=replace(task, dataset=spec)).key for spec in folded]
    assert len({JOB.key, *changed}) == 1 + len(changed)


@pytest.mark.parametrize("text", ["symmetric:0.8", "sym:0.80", "sym:8e-1", " sym:0.8 "])
def test_spellings_of_one_noise_are_one_task(text):
    assert replace(JOB.task, noise=text) == JOB.task


def test_evaluate_is_a_set():
    jobs = [replace(JOB, evaluate=e) for e in (("test", "valid_clean"), ["valid_clean", "test", "test"])]
    assert jobs[0] == jobs[1]
    assert jobs[0].key == jobs[1].key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("method"), "missing required field `method`"),
        (lambda d: d["task"].pop("noise"), r"missing required field `noise` - at `\$\.task`"),
        (lambda d: d.update(sed=1), "did you mean 'seed'"),
        (lambda d: d.update(seed=1.5), r"Expected `int`, got `float` - at `\$\.seed`"),
        (lambda d: d.update(seed=True), r"Expected `int`, got `bool` - at `\$\.seed`"),
        (lambda d: d.update(evaluate=["train"]), "expected some of"),
        (lambda d: d.update(evaluate=3), r"Expected `array`, got `int` - at `\$\.evaluate`"),
        (lambda d: d.update(task=None), r"Expected `object`, got `null` - at `\$\.task`"),
        (lambda d: d["task"].update(noise="sim:0.8"), "did you mean 'sym'"),
        (lambda d: d["task"]["protocol"].update(lr=-1), "got lr=-1"),
        (lambda d: d["task"]["dataset"].update(size=1), "unknown dataset field"),
        (lambda d: d["method"].update(hyperparameters=5), r"Expected `array`, got `int`"),
        (lambda d: d["method"].update(hyperparameters=[["q", float("nan")]]), "finite"),
    ],
)
def test_a_broken_dictionary_is_refused(change, message):
    values = json.loads(json.dumps(JOB.to_dict()))
    change(values)
    with pytest.raises(ConfigError, match=message):
        Job.from_dict(values)


def test_a_number_that_is_not_finite_has_no_key():
    with pytest.raises(ConfigError, match="not finite"):
        _ = replace(JOB, task=replace(JOB.task, protocol=TrainingProtocol(gamma=float("inf")))).key
