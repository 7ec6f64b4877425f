"""Settings for all tests."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from autorobustloss.errors import ARLError

settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start deaf to Ctrl-C


@pytest.fixture(autouse=True)
def _seeded():
    """Make tests that draw from the global generator repeatable."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_dir():
    """Return the folder of real data sets, mnist.npz and others; skip the test where there is none."""
    folder = os.environ.get("ARL_DATA_DIR")
    if not folder:
        pytest.skip("set ARL_DATA_DIR to a folder with mnist.npz and others to run this")
    return Path(folder)


@pytest.fixture(scope="session")
def make_cluster():
    """Return a function that starts a Ray cluster on this machine: its head with one core, and more such nodes."""
    pytest.importorskip("ray")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    from ray.cluster_utils import Cluster

    clusters = []

    def start(nodes):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        clusters.append(cluster)
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        return cluster

    yield start
    for cluster in clusters:
        cluster.shutdown()


@pytest.fixture(scope="session")
def two_nodes(make_cluster):
    """Return the address of a Ray cluster of two nodes with a core each, which tests leave as it is."""
    return make_cluster(2).address


@pytest.fixture(scope="session")
def fine_or_named():
    """Return a context manager: what fails in it must be an error of this library that says a text, such as a path."""

    @contextlib.contextmanager
    def within(text):
        try:
            yield
        except ARLError as error:
            if str(text) not in str(error):
                pytest.fail(f"the error says nothing of {text}: {error}")

    return within


@pytest.fixture(scope="session")
def allowed():
    """Return a function of a loss and a number of classes: that number, or the fewest that the loss takes."""
    fewest = {"arl-dr-s80": 4}  # with fewer it refuses: uniform predictions are beyond its minimum
    return lambda loss, classes: max(classes, fewest.get(loss, 2))
