"""A job is a pure function: whatever the process has set, the numbers are the same, and nothing is left changed."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.errors import ConfigError, DataError
from autorobustloss.losses import kernel
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import Job, Runtime, Task, machine, run_job
from autorobustloss.runs import trainer as run_module
from autorobustloss.runs.reproducible import denormals_flushed, environment, reproducible
from autorobustloss.runs.trainer import SplitsCache, Trainer, known_noise
from autorobustloss.training import TrainingProtocol


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


TASK = Task(DataSpec("digits", 200, 50, 50), "sym:0.4", "mlp2", TrainingProtocol(epochs=2))
JOB = Job(TASK, MethodSpec.of("gce", q=0.5), seed=1)


def state() -> dict[str, object]:
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "benchmark": torch.backends.cudnn.benchmark,
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "denormals": float(torch.full((1,), 1e-40) * 1.0) > 0,
        "random": torch.random.get_rng_state().tolist(),
    }


def test_a_result_tells_its_story(digits):
    result = run_job(JOB, digits)
    assert result.key == JOB.key
    assert result.history.epochs == [1, 2]
    assert len(result.history.test) == len(result.history.valid_noisy) == 2
    assert result.noise_rate == pytest.approx(0.4, abs=0.1)
    assert result.wall_time > 0
    assert result.device == "cpu"
    assert set(result.versions) == {"python", "torch", "numpy", "autorobustloss"}
    assert result.peak_memory > 50e6
    assert result.exact is False
    assert result.workers == 1


def test_a_result_notes_what_ran_it(digits):
    runtime = Runtime(workers=3, exact=True)
    assert run_job(JOB, digits, runtime).exact is True
    (result,) = Trainer({"digits": digits}, runtime)((JOB,))
    assert (result.exact, result.workers) == (True, 3)


def test_training_returns_the_network_and_the_splits(digits):
    (result,), splits, (network,) = Trainer({"digits": digits}).train(JOB)
    correct = (network.eval()(splits.x_test).argmax(1) == splits.y_test).double().mean()
    assert result.history.last("test") == pytest.approx(correct.item())


def test_a_result_tells_which_kernels_computed_it(digits):
    result = run_job(JOB, digits)
    name, _, instructions = result.processor.rpartition(", ")
    assert instructions == torch.backends.cpu.get_cpu_capability()
    assert len(name) > 2
    assert re.fullmatch(r".+ \(NumPy\), \w+ \(PyTorch\)", result.blas)
    assert "openmp" not in result.blas, "which multiplies nothing"


def test_a_blas_that_says_nothing_of_itself_is_told_by_numpys_build(monkeypatch):
    """Such as Apple's."""
    monkeypatch.setattr("threadpoolctl.threadpool_info", list)
    monkeypatch.setattr("torch.__config__.show", lambda: "")
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    assert machine.blas.__wrapped__() == f"{built} (NumPy), unknown (PyTorch)"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no such choice")
def test_forced_kernels_are_told():
    """The kernels in use count, not those that the processor could have."""
    code = "from autorobustloss.runs.machine import blas, processor; print(processor(), '|', blas())"
    kernels = {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"}
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, **kernels}, capture_output=True, text=True)
    assert ", DEFAULT |" in run.stdout or ", NO AVX |" in run.stdout, run.stderr  # the latter is PyTorch 2.4's word
    assert "openblas" not in run.stdout or "Nehalem" in run.stdout


def test_a_job_has_one_thread_whatever_the_process_has(digits, monkeypatch):
    """More threads add up in another order."""
    seen = []
    real = run_module.run_method
    monkeypatch.setattr(run_module, "run_method", lambda *a: seen.append(torch.get_num_threads()) or real(*a))
    for threads in (3, 2):
        torch.set_num_threads(threads)
        try:
            run_job(JOB, digits)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
    assert seen == [1, 1]


def test_exact_jobs_leave_out_the_compiled_loss(digits, monkeypatch):
    learned = replace(JOB, method=MethodSpec.of("taylor", theta=(0, 0, 0, 0, -1), log_weight=0.5, scale="max"))
    taken = []
    sweep = kernel.sweep
    monkeypatch.setattr(kernel, "sweep", lambda *a, **k: taken.append(sweep(*a, **k) is not None) or sweep(*a, **k))
    exact = run_job(learned, digits, Runtime(exact=True)).history
    assert taken
    assert not any(taken)
    with kernel.left_out():
        assert exact == run_job(learned, digits).history
    taken.clear()
    quick = run_job(learned, digits).history
    assert all(taken) is kernel.available()
    assert quick.train_loss == pytest.approx(exact.train_loss, rel=1e-4)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot flush denormal numbers")
@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_flushed_for_a_while(before):
    tiny = torch.full((8, 8), 1e-40)
    torch.set_flush_denormal(before)
    try:
        with denormals_flushed():
            assert (tiny * 1.0 == 0).all()
            assert (tiny @ torch.ones(8, 8) == 0).all()
        assert bool((tiny * 1.0 == 0).all()) is before
    finally:
        torch.set_flush_denormal(False)


def test_only_what_is_asked_for_is_scored(digits):
    history = run_job(replace(JOB, evaluate=("valid_clean",)), digits).history
    assert len(history.valid_clean) == 2
    assert history.test == history.valid_noisy == []


def test_the_numbers_do_not_depend_on_the_state_of_the_process(digits):
    expected = run_job(JOB, digits).history
    before = state()
    torch.manual_seed(123)
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True
    changed = state()
    try:
        with torch.no_grad(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
            assert run_job(JOB, digits).history == expected
        with torch.inference_mode():
            assert run_job(JOB, digits).history == expected
        assert state() == changed
    finally:
        with torch.random.fork_rng():
            torch.set_num_threads(int(str(before["threads"])))
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision("highest")
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = False


def test_within_it_is_as_in_a_fresh_process():
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True
    try:
        with torch.no_grad(), reproducible():
            assert torch.is_grad_enabled()
            assert not torch.are_deterministic_algorithms_enabled()
            assert not torch.backends.cudnn.benchmark
            assert not torch.utils.deterministic.fill_uninitialized_memory
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False


def test_environment_variables_are_set_for_a_while(monkeypatch):
    monkeypatch.setenv("ARL_THERE", "before")
    monkeypatch.delenv("ARL_NEW", raising=False)
    with environment(ARL_THERE="now", ARL_NEW="too"):
        assert (os.environ["ARL_THERE"], os.environ["ARL_NEW"]) == ("now", "too")
    assert os.environ["ARL_THERE"] == "before"
    assert "ARL_NEW" not in os.environ


def test_global_random_numbers_come_from_the_seed_and_leave_no_trace():
    before = state()
    draws = []
    for seed in (0, 0, 1):
        with reproducible(seed):
            draws.append(torch.rand(3).tolist())
            assert torch.get_num_threads() == 1
    assert draws[0] == draws[1] != draws[2]
    assert state() == before


def test_state_is_put_back_when_training_raises(digits):
    before = state()
    with pytest.raises(ConfigError, match="unknown"):
        run_job(replace(JOB, method=MethodSpec.of("gcee")), digits)
    assert state() == before


def test_a_diverged_run_is_a_result(digits):
    protocol = TrainingProtocol(epochs=3, lr=1e30)
    result = run_job(replace(JOB, task=replace(TASK, protocol=protocol), method=MethodSpec("ce")), digits)
    assert result.history.stopped == "diverged"
    assert type(result).from_json(result.to_json()) == result


def test_data_that_have_changed_are_refused(digits):
    task = replace(TASK, dataset=replace(TASK.dataset, fingerprint="0" * 64))
    with pytest.raises(DataError, match="changed"):
        run_job(replace(JOB, task=task), digits)


def test_a_trainer_names_the_data_set_it_was_not_given(digits):
    with pytest.raises(ConfigError, match=r"got no data set 'mnist', expected it among \['digits'\]"):
        Trainer({"digits": digits}).train(replace(JOB, task=replace(TASK, dataset=DataSpec("mnist"))))


def test_splits_are_made_once_for_jobs_that_share_them(digits):
    cache = SplitsCache()
    splits = cache.get(JOB, digits)
    for other in (replace(JOB, seed=5), replace(JOB, method=MethodSpec("ce")), replace(JOB, evaluate=("test",))):
        assert cache.get(other, digits) is splits
    for other in (
        replace(JOB, noise_seed=5),
        replace(JOB, split_seed=5),
        replace(JOB, task=replace(TASK, noise="pair:0.3")),
        replace(JOB, task=replace(TASK, dataset=DataSpec("digits", 100))),
    ):
        assert cache.get(other, digits) is not splits
    assert len(cache._splits) == 5
    assert cache.get(JOB, replace(digits, fingerprint="other")) is not splits


def test_new_noise_costs_labels_only(digits):
    cache = SplitsCache()
    jobs = [replace(JOB, noise_seed=seed, task=replace(TASK, noise=noise)) for seed, noise in
            ((0, "sym:0.4"), (1, "sym:0.4"), (1, "pair:0.3"))]  # fmt: skip
    one = cache.get(jobs[0], digits)
    images = one.x_train.nbytes + one.x_valid.nbytes + one.x_test.nbytes
    before = cache.bytes
    for job in jobs[1:]:
        splits, alone = cache.get(job, digits), SplitsCache().get(job, digits)
        assert all(torch.equal(value, getattr(alone, name)) for name, value in vars(splits).items()
                   if isinstance(value, torch.Tensor))  # fmt: skip
        assert splits.x_train is one.x_train
    assert cache.bytes - before < images / 4


def test_a_trainer_makes_splits_once(digits, monkeypatch):
    made = []
    monkeypatch.setattr(run_module, "make_splits", lambda *a, **k: made.append(a) or make_splits(*a, **k))
    trainer = Trainer({"digits": digits})
    for seed in range(3):
        trainer.train(replace(JOB, seed=seed))
    assert len(made) == 1


def test_the_cache_is_bounded_and_drops_what_was_used_longest_ago(digits):
    size = SplitsCache()
    size.get(JOB, digits)
    cache = SplitsCache(max_bytes=2 * size.bytes + 10)
    jobs = [replace(JOB, split_seed=seed) for seed in range(3)]
    first, second = (cache.get(job, digits) for job in jobs[:2])
    cache.get(jobs[0], digits)
    cache.get(jobs[2], digits)
    assert cache.get(jobs[0], digits) is first
    assert cache.get(jobs[1], digits) is not second
    assert len(cache._splits) == 2
    assert 0 < cache.bytes <= cache.max_bytes


def test_of_splits_too_large_for_the_cache_the_last_are_kept(digits):
    cache = SplitsCache(max_bytes=10)
    first = cache.get(JOB, digits)
    assert len(first.y_train) == 200
    assert cache.get(replace(JOB, seed=5), digits) is first
    cache.get(replace(JOB, split_seed=5), digits)
    assert len(cache._splits) == 1


def test_methods_are_told_the_noise_of_the_spec_or_the_counted_one(digits):
    splits = SplitsCache().get(JOB, digits)
    told = known_noise("sym:0.4", "digits", splits)
    assert told is not None
    assert told.diagonal().tolist() == pytest.approx([0.6] * 10)
    counted = known_noise("idn:0.4", "digits", splits)
    assert counted is not None
    kept = (splits.y_train == splits.y_train_clean)[splits.y_train_clean == 3].double().mean()
    assert counted[3, 3].item() == pytest.approx(kept.item())
    assert known_noise("given", "digits", replace(splits, noise_rate=None)) is None


def test_nothing_warns(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_job(JOB, digits)
