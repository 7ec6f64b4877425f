"""A cluster broken on purpose: workers, nodes, driver, head are killed; nothing finished is lost or trained twice."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import autorobustloss as arl
from autorobustloss.cli.main import main
from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ClusterError, WorkerError
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import Job, RayExecutor, SerialExecutor, Store, Task, run_jobs
from autorobustloss.runs.cluster import node
from autorobustloss.runs.cluster.connection import Connection
from autorobustloss.training import TrainingProtocol

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes by Linux's /proc"),
]

PATIENCE = 240.0
TASK = Task(DataSpec("digits", 300, 50, 50), "sym:0.4", "mlp2", TrainingProtocol(epochs=100))
JOBS = [Job(TASK, MethodSpec("gce"), seed=seed) for seed in range(24)]
BENCH = ["bench", "--quiet", "--models=mlp2", "--noise=sym:0.4", "--methods=ce,gce", "--seeds=12", "--epochs=100"]
BENCH += ["--train-size=300", "--valid-size=50", "--format=csv"]


@pytest.fixture(scope="module")
def datasets():
    return {"digits": load_dataset("digits")}


@pytest.fixture(scope="module")
def expected(datasets):
    return {job.key: result.history for job, result in SerialExecutor(datasets).map(JOBS)}


def training(raylet: int) -> list[int]:
    """Return the processes of a node that are training."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and (folder / "cmdline").read_bytes().startswith(b"ray::train"):
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def raylet(cluster_node) -> int:
    return cluster_node.all_processes["raylet"][0].process.pid


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def stored(out: Path) -> dict[str, str]:
    """Return {key: when it was stored}."""
    file = out / "store.sqlite"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
            return dict(database.execute("SELECT key, created FROM results"))
    except sqlite3.OperationalError:  # not there yet
        return {}


def start(out: Path, address: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "autorobustloss", *BENCH, "--executor", f"ray://{address}", "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def histories(results):
    finished = [(job.key, result.history) for job, result in results]
    assert len(dict(finished)) == len(finished), "one job came twice"
    return dict(finished)


@pytest.mark.parametrize("ahead", [0, 4])
def test_the_search_on_two_nodes_gives_the_very_card_of_the_serial_one(two_nodes, tmp_path, ahead):
    command = ["search", "--quiet", "--json", "--models=mlp2,cnn4", "--generations=3", "--population=5", "--epochs=4"]
    command += ["--compare-seeds=0", "--finalists-seeds=1", f"--ahead={ahead}"]
    cards = {}
    for name, where in {"serial": ["--workers=1"], "ray": ["--executor", f"ray://{two_nodes}"]}.items():
        out = tmp_path / name / "run"
        assert main([*command, *where, "--out", str(out)]) == 0
        cards[name] = (out / "loss.json").read_bytes()
        assert len(stored(out)) > 30
    assert cards["ray"] == cards["serial"]


def test_a_search_in_one_call_runs_there_too(two_nodes):
    tasks = arl.make_tasks("digits", noise="sym:0.4", models="linear", train_size=200, epochs=2)
    short = {"generations": 2, "population": 4, "finalists_seeds": 1}
    there = arl.search(tasks, executor=f"ray://{two_nodes}", workers=None, **short)
    assert there.winner == arl.search(tasks, **short).winner


def test_data_are_mapped_not_copied(two_nodes, datasets):
    import ray

    with RayExecutor(datasets, address=two_nodes) as executor:
        list(executor.map(JOBS[:1]))
        first, second = (ray.get(executor._shared).arrays["digits"]["x_train"] for _ in range(2))
        assert first.ctypes.data == second.ctypes.data
        assert not first.flags.writeable


def test_nodes_that_differ_are_refused_before_anything_trains(two_nodes, datasets, monkeypatch):
    wanted = {**node.environment(), "torch": "9.9"}
    monkeypatch.setattr(node, "environment", lambda: wanted)
    with RayExecutor(datasets, address=two_nodes) as executor, Store(":memory:") as store:
        with pytest.raises(ClusterError, match=r"(?s)not like this machine.*torch .*, expected 9\.9.*same versions"):
            run_jobs(JOBS, store, executor)
        with pytest.raises(ClusterError, match="not like this machine"):  # nor when it is asked again
            run_jobs(JOBS, store, executor)
        assert len(store) == 0
    monkeypatch.setattr(Connection, "check_nodes", lambda *_: None)  # as for a node that joins later
    with (
        RayExecutor(datasets, address=two_nodes) as executor,
        pytest.raises(ClusterError, match=r"torch .*, expected 9\.9"),
    ):
        list(executor.map(JOBS))


def test_a_cluster_that_the_caller_joined_is_used_and_not_left(two_nodes, datasets, expected):
    import ray

    ray.init(address=two_nodes, log_to_driver=False)
    try:
        with pytest.raises(ClusterError, match=r"this process has joined one"):
            list(RayExecutor(datasets, address=two_nodes).map(JOBS[:1]))
        with RayExecutor(datasets) as executor:
            finished = histories(executor.map(JOBS[:3]))
            assert re.fullmatch(r"\d of 2 workers busy, load \d+\.\d\d a core", executor.load), executor.load
        assert finished == {key: expected[key] for key in finished}
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_no_cluster_there(datasets):
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:9; expected HOST:PORT"):
        list(RayExecutor(datasets, address="127.0.0.1:9").map(JOBS))


def test_a_worker_killed_and_a_job_that_kills(make_cluster, datasets, expected, capsys):
    cluster = make_cluster(2)
    raylets = [raylet(cluster.head_node), *map(raylet, cluster.worker_nodes)]
    with RayExecutor(datasets, address=cluster.address) as executor:
        results, killed, finished = executor.map(JOBS), 0, []
        for done in results:
            finished.append(done)
            if not killed and (busy := [pid for each in raylets for pid in training(each)]):
                os.kill(busy[0], signal.SIGKILL)
                killed = busy[0]
        assert killed
        assert histories(finished) == expected

        done = threading.Event()

        def hunt():  # kills whatever trains, so that one job dies twice
            while not done.wait(0.05):
                for pid in [pid for each in raylets for pid in training(each)]:
                    os.kill(pid, signal.SIGKILL)

        hunter = threading.Thread(target=hunt)
        hunter.start()
        long = Task(TASK.dataset, TASK.noise, TASK.model, TrainingProtocol(epochs=100_000))
        with pytest.raises(WorkerError, match=r"a worker ended again and again in job gce .*finished jobs are stored"):
            list(executor.map([Job(long, MethodSpec("gce"))]))
        done.set()
        hunter.join()
    assert capsys.readouterr().out == "", "what Ray says of it is no result"


def test_a_node_killed_and_one_added(make_cluster, datasets, expected):
    cluster = make_cluster(2)
    (lost,) = cluster.worker_nodes
    joined, seen = [], set()
    with RayExecutor(datasets, address=cluster.address) as executor:
        finished = []
        for done in executor.map(JOBS):
            finished.append(done)
            if len(finished) == 2:
                wait_for(lambda: training(raylet(lost)))
                cluster.remove_node(lost, allow_graceful=False)
                joined.append(cluster.add_node(num_cpus=1))
            if joined:
                seen |= set(training(raylet(joined[0])))
        assert histories(finished) == expected
        assert seen, "the node that joined was not used"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_driver_killed_or_interrupted_and_rerun(make_cluster, two_nodes, tmp_path, number, capsys):
    cluster, out = make_cluster(2), tmp_path / "run"
    raylets = [raylet(cluster.head_node), *map(raylet, cluster.worker_nodes)]
    first = start(out, cluster.address)
    wait_for(lambda: len(stored(out)) >= 3 or first.poll() is not None)
    assert first.poll() is None, first.communicate()
    os.killpg(first.pid, number)
    _, messages = first.communicate(timeout=PATIENCE)
    if number == signal.SIGINT:
        assert first.returncode == 130
        assert "the same command goes on from here" in messages
    wait_for(lambda: not any(map(training, raylets)), 30)  # no orphan
    before = stored(out)
    assert 3 <= len(before) < 24
    again = start(out, cluster.address)
    table, messages = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, messages
    after = stored(out)
    assert len(after) == 24
    assert {key: after[key] for key in before} == before, "what was stored was trained again"
    capsys.readouterr()
    assert main([*BENCH, "--workers=1", "--out", str(tmp_path / "serial")]) == 0
    assert without_cost(table) == without_cost(capsys.readouterr().out)


def without_cost(table: str) -> list[list[str]]:
    rows = [line.split(",") for line in table.splitlines() if "," in line]
    columns = [i for i, name in enumerate(rows[0]) if "cost" not in name]
    return [[row[i] for i in columns if i < len(row)] for row in rows]


def test_the_death_of_the_head_is_a_clear_error_and_the_run_goes_on_elsewhere(make_cluster, tmp_path, capsys):
    cluster, out = make_cluster(2), tmp_path / "run"
    driver = start(out, cluster.address)
    wait_for(lambda: len(stored(out)) >= 3 or driver.poll() is not None)
    for processes in cluster.head_node.all_processes.values():
        for each in processes:
            os.kill(each.process.pid, signal.SIGKILL)
    _, messages = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert "the head of the Ray cluster" in messages
    assert "finished jobs are stored" in messages
    assert "Traceback" not in messages
    before = stored(out)
    assert main([*BENCH, "--workers=2", "--out", str(out)]) == 0
    assert {key: stored(out)[key] for key in before} == before
