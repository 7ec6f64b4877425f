"""Finding wrong labels: each sample is judged once, by networks that have not seen it, and what is found is right."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import autorobustloss as arl
from autorobustloss.data import Dataset, DataSpec, make_splits
from autorobustloss.data.splits import split_indices
from autorobustloss.errors import ConfigError, MissingDependencyError, StoreError, WorkerError
from autorobustloss.labels import LabelErrors, examined, label_config
from autorobustloss.labels.config import LabelsConfig
from autorobustloss.labels.out_of_fold import out_of_fold, temperature
from autorobustloss.labels.pool import sample_names
from autorobustloss.methods import MethodSpec
from autorobustloss.methods.named import named_method
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs import Job, Runtime, Store, Task, executor_for, run_job, run_jobs
from autorobustloss.runs.outputs import pack, unpack
from autorobustloss.training.history import History

CE = MethodSpec("ce")


def blobs(count=120, classes=3, **more):
    """Return well-separated samples, a test part of 30, and no wrong label."""
    rng, y = np.random.default_rng(0), np.arange(count) % classes
    x = rng.normal(size=(count, 4)) + 6 * np.eye(classes, 4)[y]
    return Dataset.from_arrays(x[30:], y[30:], x[:30], y[:30], name="blobs", **more)


def task(**changes):
    return Task(DataSpec("blobs"), "given", "linear", arl.create_protocol("digits", epochs=20, **changes))


@given(st.integers(2, 6), st.integers(0, 5), st.sampled_from([0, 40, 77]), st.sampled_from([0, 8]))
def test_folds_are_a_partition_and_their_networks_see_nothing_of_them(folds, seed, size, valid):
    dataset, drawn = blobs(), []
    for fold in range(folds):
        spec = DataSpec("blobs", size, valid, folds=folds, fold=fold)
        train, validation, test = split_indices(dataset, spec, seed)
        parts = [set(part.tolist()) for part in (train, validation, test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == (size or 90)
        assert len(parts[1]) == valid
        drawn += test.tolist()
        counts = dataset.y_train[test].bincount(minlength=3)
        assert counts.max() - counts.min() <= 2
    assert len(drawn) == len(set(drawn)) == (size or 90)


def test_a_fold_has_the_labels_and_samples_of_the_training_part():
    dataset, spec = blobs(), DataSpec("blobs", folds=3, fold=1)
    _, _, test = split_indices(dataset, spec, 0)
    noisy = make_splits(dataset, spec, "sym:0.3", noise_seed=4)
    assert torch.equal(noisy.y_test, dataset.y_train[test])
    assert (noisy.y_train != noisy.y_train_clean).double().mean() == pytest.approx(noisy.noise_rate)
    assert (make_splits(dataset, spec, "given").y_test == -1).all()  # which are right is not known
    assert len(noisy.x_valid) == 0


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"folds": 3, "fold": 3}, {"fold": 1}, {"folds": 3, "test_size": 5}])
def test_folds_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"expected a fold|expected a whole"):
        DataSpec("blobs", **wrong)


def test_a_job_that_predicts_keeps_the_logits_of_its_network():
    dataset, spec = blobs(), DataSpec("blobs", folds=3, fold=2)
    job = Job(replace(task(), dataset=spec), CE, evaluate=("valid_clean",), predict=True)
    result = run_job(job, dataset)
    outputs = unpack(result.outputs, 3)
    assert (outputs.argmax(1) == dataset.y_train[split_indices(dataset, spec, 0)[2]]).all()
    assert arl.Result.from_json(result.to_json()) == result
    silent = run_job(replace(job, predict=False), dataset)
    assert silent.outputs == ""
    assert "outputs" not in json.loads(silent.to_json())
    assert silent.history == result.history


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=5))
def test_outputs_keep_every_bit(rows):
    outputs = torch.tensor(rows, dtype=torch.float32)
    assert unpack(pack(outputs), 3).numpy().tobytes() == outputs.numpy().tobytes()


@pytest.mark.parametrize("text", ["no base64!", "AAAA", "AAAAAA=="])
def test_outputs_that_are_none_are_refused(text):
    with pytest.raises(StoreError, match="do not read"):
        unpack(text, 2)


@given(st.floats(0.05, 20), st.integers(0, 10))
def test_temperature_finds_the_scale_that_was_hidden(scale, seed):
    """Labels drawn from softmax(z) are best explained by z / 1, and by scale·z at T = scale."""
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(4000, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(z.softmax(1), 1, generator=generator).flatten()
    assert temperature(scale * z, labels) == pytest.approx(scale, rel=0.12)


def test_probabilities_come_back_in_the_order_of_the_samples():
    """Whatever the folds: each sample's outputs are found at its own place, and the same samples under each seed."""
    config, pool = label_config(task(), blobs(), CE, train_size=50, folds=4, seeds=2)
    jobs, results = config.jobs(), {}
    for job in jobs:
        test = split_indices(pool, job.task.dataset, job.split_seed)[2]
        logits = torch.nn.functional.one_hot(pool.y_train[test], 3) * 3.0 + torch.randn(len(test), 3) / 10
        results[job.key] = replace(run_job_stub(job), outputs=pack(logits))
    probabilities = out_of_fold(jobs, results, pool, pool.y_train)
    assert (probabilities.argmax(1) == pool.y_train.numpy()).all()
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert len(pool.y_train) == 50
    whole = examined(blobs(), "given")
    names = sample_names(whole).tolist()
    for name, x in zip(sample_names(pool), pool.x_train):
        assert torch.equal(x, whole.x_train[names.index(name)])


def run_job_stub(job):
    return arl.Result(job.key, History(), None, 1.0, "cpu", "here", {})


def test_a_seed_that_diverged_is_left_out_and_all_of_them_are_an_error():
    dataset = blobs()
    config, pool = label_config(task(), dataset, CE, folds=2, seeds=2)
    jobs = config.jobs()
    good = {}
    for job in jobs:
        test = split_indices(pool, job.task.dataset, job.split_seed)[2]
        value = torch.nan if job.split_seed == 0 else 1.0
        good[job.key] = replace(run_job_stub(job), outputs=pack(torch.full((len(test), 3), value)))
    probabilities = out_of_fold(jobs, good, pool, pool.y_train)
    np.testing.assert_allclose(probabilities, 1 / 3)
    with pytest.raises(WorkerError, match="diverged under every seed"):
        out_of_fold(jobs[:2], good, pool, pool.y_train)


def test_what_is_examined():
    own = blobs(rows={"train": np.arange(90), "test": np.array([f"t{i}.png" for i in range(30)])})
    assert examined(own, "sym:0.2") is own
    pool = examined(own, "given")
    assert len(pool.y_train) == 120
    assert sample_names(pool)[88:92].tolist() == ["train row 88", "train row 89", "t0.png", "t1.png"]
    assert torch.equal(pool.x_train[90:], own.x_test)
    assert pool.fingerprint != own.fingerprint
    assert sample_names(examined(blobs(), "given"))[[0, 90]].tolist() == ["x_train[0]", "x_test[0]"]
    twice = blobs(rows={"train": np.arange(90), "test": np.arange(30)})  # two tables, each with a row 0
    assert sample_names(examined(twice, "given"))[[0, 90]].tolist() == ["train row 0", "test row 0"]
    noisy = Dataset.from_arrays(own.x_train, own.y_train, own.x_test, own.y_test, y_train_noisy=own.y_train)
    assert examined(noisy, "given") is noisy


@pytest.mark.parametrize("size", [0, 20])
def test_arrays_are_examined_in_their_order(size):
    x = np.random.default_rng(0).permutation(60).astype(float)[:, None] @ np.ones((1, 3))
    pool = examined(Dataset.from_arrays(x, np.arange(60) % 2), "given", size)
    rows = pool.rows["train"]
    assert len(rows) == (size or 60)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(pool.x_train.numpy(), x[rows])
    np.testing.assert_array_equal(pool.y_train.numpy(), rows % 2)
    assert sample_names(pool).tolist() == [f"row {i}" for i in rows]


def fake(given, joint, wrong, classes=("a", "b")):
    count = len(given)
    probabilities = np.full((count, 2), 0.5)
    config = LabelsConfig(task(), CE)
    samples = tuple(f"s{i}" for i in range(count))
    quality = np.linspace(0, 1, count)
    return LabelErrors(config, classes, samples, given, probabilities, quality, wrong, joint)


@given(st.integers(2, 6), st.integers(0, 100))
def test_the_noise_matrix_is_one_that_noise_and_forward_correction_take(classes, seed):
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.ones(classes**2)).reshape(classes, classes)
    found = fake(np.array([0, 1]), joint, np.array([True, False]))
    T = found.noise_matrix
    np.testing.assert_allclose(T.sum(1), 1)
    np.testing.assert_allclose(T * joint.sum(1, keepdims=True), joint)
    spec = NoiseSpec.parse("matrix:" + found.matrix_json())
    np.testing.assert_allclose(arl.transition_matrix(spec, classes), T)
    arl.create_loss("forward", T=T.tolist())


def test_forward_correction_takes_the_file(tmp_path):
    found = fake(np.array([0, 1]), np.array([[0.4, 0.1], [0.0, 0.5]]), np.array([True, False]))
    file = tmp_path / "noise-matrix.json"
    file.write_text(found.matrix_json())
    expected = [[0.8, 0.2], [0.0, 1.0]]
    torch.testing.assert_close(arl.create_loss("forward", T=str(file)).T, torch.tensor(expected, dtype=torch.float64))
    name, method = named_method(f"forward(T={str(file)!r})")
    assert method == MethodSpec.of("forward", T=expected)  # its numbers are the method, not the name of a file
    assert str(file) in name
    with pytest.raises(arl.ARLError, match="no such file"):
        named_method("forward(T='nowhere.json')")


def test_the_csv_is_ranked_and_runs_no_formula():
    found = fake(np.array([0, 1, 0]), np.eye(2) / 2, np.array([False, True, False]), ("=1+1", "b"))
    lines = found.to_csv().splitlines()
    assert lines[0] == "sample,given,suggested,wrong,quality,confidence"
    assert [line.split(",")[0] for line in lines[1:]] == ["s1", "s0", "s2"]
    assert "'=1+1" in lines[1]
    assert ",=1+1" not in found.to_csv()


def test_without_cleanlab_nothing_is_trained_and_the_install_line_is_said(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "autorobustloss.labels.judge.find_spec", lambda name: None if name == "cleanlab" else found(name)
    )
    monkeypatch.setattr("autorobustloss.labels.find.make_tasks", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[labels\]'"):
        arl.find_label_errors("digits")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"folds": 1}, "got 1 folds, expected 2 to 100"),
        ({"seeds": 0}, "got seeds=0"),
        ({"train_size": 10, "folds": 5}, "too few for 5 folds"),
        ({"test_size": 5}, "train_size says how many"),
        ({"noise": ["given", "clean"]}, "got 2 tasks"),
        ({"loss": "nonsense"}, "unknown method"),
        ({"model": "cnn4"}, "expected images"),
        ({"loss": "forward(T=[[0.9, 0.1], [0.1, 0.9]])"}, "expected 2, the size of the matrix"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong, message):
    pytest.importorskip("cleanlab")
    with pytest.raises(arl.ARLError, match=message):
        arl.find_label_errors(blobs(), **{"model": "linear", **wrong})


def test_wrong_labels_are_found():
    pytest.importorskip("cleanlab")
    data = blobs()
    y = data.y_train.clone()
    swapped = torch.arange(0, 90, 9)
    y[swapped] = (y[swapped] + 1) % 3
    own = Dataset.from_arrays(data.x_train, y, data.x_test, data.y_test, name="own", classes=("x", "y", "z"))
    found = arl.find_label_errors(own, model="linear", folds=3, epochs=20, loss="gce")
    named = {found.samples[i] for i in found.wrong.nonzero()[0]}
    assert named == {f"x_train[{i}]" for i in swapped.tolist()}
    assert [row["wrong"] for row in found.rows()[:11]] == [1] * 10 + [0]
    suggested = {row["sample"]: row["suggested"] for row in found.rows()}
    assert all(suggested[f"x_train[{i}]"] == "xyz"[data.y_train[i]] for i in swapped.tolist())
    assert found.noise_rate == pytest.approx(10 / 120, abs=0.02)
    assert "little can be said" not in str(found)
    small = fake(np.array([0] * 30 + [1]), np.eye(2) / 2, np.zeros(31, dtype=bool))
    assert "with fewer than 10 labels little can be said: b" in str(small)
    assert found.scores == {}
    assert "10 of 120 labels look wrong" in str(found)


def test_known_noise_is_scored_and_its_matrix_estimated(tmp_path):
    pytest.importorskip("cleanlab")
    how = {
        "noise": "pair:0.3",
        "model": "linear",
        "train_size": 700,
        "epochs": 20,
        "loss": "gce",
        "out": tmp_path / "r",
    }
    found = arl.find_label_errors("digits", **how)
    assert found.scores["auc"] > 0.9
    assert found.scores["recall"] > 0.7
    mistaken = found.given != found.truth
    assert found.scores["precision"] == pytest.approx((found.wrong & mistaken).sum() / found.wrong.sum())
    pairs = np.mean([found.noise_matrix[c, (c + 1) % 10] for c in range(10)])
    assert pairs == pytest.approx(mistaken.mean(), abs=0.08)
    assert (tmp_path / "r" / "labels.csv").read_text() == found.to_csv()
    with Store(tmp_path / "r" / "store.sqlite") as store:
        assert len(store) == 5
    again = arl.find_label_errors("digits", **how)
    assert np.array_equal(again.probabilities, found.probabilities)


def test_networks_that_learnt_nothing_judge_nothing():
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="no more than guessing"):
        arl.find_label_errors((rng.normal(size=(200, 3)), rng.permutation(200) % 2), "ce", model="linear", epochs=1)


def test_folds_never_run_in_cohorts_which_keep_no_networks():
    config, pool = label_config(task(), blobs(), named_method("arl-mild")[1], folds=2)
    with Store(":memory:") as store:
        runtime = Runtime(workers=1, cohorts=True)
        with executor_for({"blobs": pool}, runtime) as executor:
            shared = run_jobs(config.jobs(), store, executor)
    alone = [run_job(job, pool) for job in config.jobs()]
    assert [r.outputs for r in shared] == [r.outputs for r in alone]
    assert not any("cohort" in r.device for r in shared)


def test_a_procedure_gets_validation_labels():
    config, pool = label_config(task(), blobs(), MethodSpec("fw"), folds=4)
    assert config.task.dataset.valid_size == 9
    assert unpack(run_job(config.jobs()[0], pool).outputs, 3).isfinite().all()
