"""How jobs are grouped, and that options which cannot be are refused before a cluster is asked."""

from __future__ import annotations

import math
import socket
import sys
from collections import Counter, deque
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.cli.main import main
from autorobustloss.data import load_dataset
from autorobustloss.errors import ClusterError, ConfigError, MissingDependencyError
from autorobustloss.runs import RayExecutor, Runtime, executor_for
from autorobustloss.runs.cluster import node
from autorobustloss.runs.cluster.connection import Connection
from autorobustloss.runs.cluster.groups import ENOUGH, take

SECONDS = st.sampled_from([0.001, 0.02, 0.2, 3.0, math.inf])


@given(st.lists(SECONDS, max_size=200), st.integers(1, 50))
def test_groups_are_all_jobs_in_order_and_none_is_much_longer_than_it_need_be(seconds, places):
    pending, groups = deque((number,) for number in range(len(seconds))), []
    while pending:
        left = len(pending)
        group = take(pending, lambda unit: seconds[unit[0]], places)
        times = [seconds[number] for (number,) in group]
        assert 1 <= len(group) <= max(1, left // (3 * places))
        assert sum(times[:-1]) < ENOUGH
        assert math.inf not in times or len(group) == 1
        groups += [number for (number,) in group]
    assert groups == list(range(len(seconds)))


def test_a_message_costs_little_beside_jobs_of_milliseconds():
    pending = deque((number,) for number in range(1000))
    assert len(take(pending, lambda unit: 0.002, places=2)) == pytest.approx(ENOUGH / 0.002, abs=1)


def test_data_survive_the_way_through_arrays():
    digits = load_dataset("digits")
    again = node.unpacked(node.packed(digits))
    assert again.fingerprint == digits.fingerprint
    assert again.x_train.data_ptr() == digits.x_train.data_ptr(), "a copy"


def test_an_environment_that_differs_says_in_what():
    here = node.environment()
    assert node.fault(here) == ""
    assert node.fault({**here, "torch": "1.0"}) == f"torch {here['torch']}, expected 1.0"
    report = node.train({**here, "code": "other"}, [None], b"nothing that could be unpickled")
    assert report.outcomes == []
    assert "expected other" in report.fault


def test_without_ray_the_error_names_the_install_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[ray\]'"):
        RayExecutor({})
    assert main(["train", "--executor", "ray", "--epochs", "1"]) == 1
    assert "pip install 'autorobustloss[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize("alive", [True, False])
def test_a_cluster_that_was_here_and_is_gone_is_not_waited_for(alive):
    """Ray notes the head that was last started, and looks for one that has died for five minutes."""
    joined = []
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        if alive:
            head.listen()
        noted = "{}:{}".format(*head.getsockname())
        connection = object.__new__(Connection)
        connection._ray = SimpleNamespace(
            init=lambda address, **options: joined.append(address),
            exceptions=SimpleNamespace(RayError=RuntimeError),
            _private=SimpleNamespace(utils=SimpleNamespace(read_ray_address=lambda: noted)),
        )
        connection._connect(None)
    assert joined == ["auto" if alive else "local"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "got 0 workers"),
        ({"gpus_per_worker": -1}, "got -1 GPUs per worker"),
        ({"gpus_per_worker": 1.5}, "a share from 0 to 1, or a whole number"),
        ({"gpus_per_worker": 0.5, "runtime": Runtime()}, "got device cpu with 0.5 GPUs"),
        ({"runtime": Runtime("cuda")}, "got device cuda with 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options, message):
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=message):
        RayExecutor({}, **options)


@pytest.mark.parametrize("name", ["spark", "ray:", "ray://", "rays", ""])
def test_an_executor_that_is_none(name):
    with pytest.raises(ConfigError, match="expected local, ray, or ray://HOST:PORT"):
        executor_for({}, executor=name)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--gpus-per-worker=1"], "without a cluster; add --executor ray"),
        (["--executor=ray", "--gpus-per-worker=1", "--device=cpu"], "leave out one of them"),
        (["--executor=ray", "--workers=0"], "got 0 workers"),
        (["--executor=dask"], "got executor 'dask'"),
    ],
)
def test_command_lines_that_cannot_be_meant(flags, message, capsys):
    pytest.importorskip("ray")
    assert main(["train", "--epochs=1", *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("cause", "says"), [("OwnerDiedError", "cluster lost"), ("ValueError", "not like this")])
def test_lost_data_are_no_fault_of_the_nodes(cause, says):
    errors = pytest.importorskip("ray.exceptions")
    gone = errors.OwnerDiedError("ab" * 28, None, "") if cause == "OwnerDiedError" else ValueError("no")
    with pytest.raises(ClusterError, match=says):
        RayExecutor._lost(RayExecutor.__new__(RayExecutor), [], errors.RayTaskError("f", "t", gone), deque(), Counter())
