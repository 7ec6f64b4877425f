"""A connection to a Ray cluster: its nodes, whether they are fit to train, whether its head is alive."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from autorobustloss.errors import ClusterError, MissingDependencyError
from autorobustloss.runs.cluster import node
from autorobustloss.runs.runtime import usable_cores
from autorobustloss.runs.worker import ENVIRONMENT

PATIENCE = 15.0
"""Seconds for which the head may not answer; after 60 Ray ends the whole process, without a word to us."""
SLOW_START = 300.0
"""Seconds that a node may take until it answers for the first time: its first process imports PyTorch."""


def import_ray() -> Any:
    """Return the package Ray; without it the error names the install line."""
    try:
        import ray
    except ImportError:
        raise MissingDependencyError("a cluster needs Ray; pip install 'autorobustloss[ray]'") from None
    return ray


class Connection:
    """This process as the driver of a cluster.

    address: HOST:PORT of the head; None for the cluster that $RAY_ADDRESS or this machine knows, else one is started on
    this machine. A connection that the caller made with `ray.init` is used, and left open.

    Raises ClusterError where no cluster answers.
    """

    def __init__(self, address: str | None = None) -> None:
        self._ray = import_ray()
        self._owned = not self._ray.is_initialized()
        if address and not self._owned:
            raise ClusterError(
                f"got the cluster {address}, but this process has joined one; leave it by ray.shutdown()"
            )
        if self._owned:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers unless told not to
            known = os.environ.get("RAY_ADDRESS", "auto")
            self._connect(address or (None if known == "auto" else known))
            # Ray tells of processes that died on standard output, which is for what was asked for.
            self._ray._private.worker._worker_logs_enabled = False
        self.head: str = self._ray.get_runtime_context().gcs_address
        self._answered = time.monotonic()

    def _connect(self, address: str | None) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address and not _answers(address, 5.0):
            raise ClusterError(
                f"no Ray cluster answers at {address}; expected HOST:PORT of its head, as `ray start --head` prints it "
                "(port 6379 unless told otherwise), on a machine that is a node of the cluster"
            )
        try:
            if address is None:
                last = self._last_started()
                if last is None or _answers(last, 5.0):  # Ray waits for minutes for one that is gone
                    with suppress(ConnectionError):
                        self._ray.init(address="auto", **options)
                        return
                address = "local"
                options |= {"include_dashboard": False, "num_cpus": usable_cores()}
            self._ray.init(address=address, **options)
        except (
            self._ray.exceptions.RayError,
            ConnectionError,
            RuntimeError,
            ValueError,
        ) as error:  # another version, …
            raise ClusterError(f"cannot join the Ray cluster at {address}: {' '.join(str(error).split())}") from error

    def _last_started(self) -> str | None:
        """Return where Ray has noted the head that was last started on this machine, which may be gone."""
        with suppress(AttributeError, OSError):
            noted = self._ray._private.utils.read_ray_address()
            return str(noted) if noted else None
        return None

    def places(self, gpus_per_worker: float) -> int:
        """Return how many workers the nodes of this moment have room for: one per core, or per share of a GPU."""
        return sum(_places(each, gpus_per_worker) for each in self._nodes())

    def check_nodes(self, wanted: Mapping[str, str], gpus_per_worker: float) -> None:
        """Raise ClusterError, which names the nodes and what differs, unless every node is like this process."""
        ray = self._ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [each for each in self._nodes() if _places(each, gpus_per_worker)]
        asked = {}
        for each in nodes:
            there = NodeAffinitySchedulingStrategy(each["NodeID"], soft=True)
            remote = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there, runtime_env=RUNTIME_ENVIRONMENT)
            asked[remote(node.probe).remote(wanted)] = each["NodeManagerHostname"]
        answers = ray.wait(list(asked), num_returns=len(asked), timeout=SLOW_START)[0] if asked else []
        wrong = []
        for reference, host in asked.items():
            try:
                found = ray.get(reference) if reference in answers else f"no answer in {SLOW_START:.0f} s"
            except ray.exceptions.RayError as error:
                found = unfit(error)
            wrong += [f"  {host}: {found}"] if found else []
        if wrong:
            raise unlike(wrong)

    def check_head(self) -> bool:
        """Return whether the head answers; raise ClusterError where it has not for `PATIENCE` seconds."""
        now = time.monotonic()
        if _answers(self.head, 2.0):
            self._answered = now
        elif now - self._answered > PATIENCE:
            raise ClusterError(
                f"the head of the Ray cluster, {self.head}, does not answer any more; finished jobs are stored. Start "
                "the cluster again and run the same command: it goes on from there"
            )
        return self._answered == now

    def close(self) -> None:
        """Leave the cluster, which ends what this process runs on it; end a cluster that was started for it."""
        if self._owned:
            self._ray.shutdown()
            self._ray._private.worker._worker_logs_enabled = True

    def _nodes(self) -> list[dict[str, Any]]:
        return [each for each in self._ray.nodes() if each["Alive"]]


RUNTIME_ENVIRONMENT = {"env_vars": ENVIRONMENT}


def unlike(wrong: list[str]) -> ClusterError:
    """Return the error for nodes that differ from the driver, a line for each."""
    return ClusterError(
        "nodes of the cluster are not like this machine, and would train to other numbers:\n"
        + "\n".join(wrong)
        + "\ninstall the same versions everywhere, or use one image for all nodes"
    )


def unfit(error: Exception) -> str:
    """Return in a line why a task could not begin on a node, such as that the library is not installed there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else repr(error))


def _places(each: Mapping[str, Any], gpus_per_worker: float) -> int:
    cores, gpus = each["Resources"].get("CPU", 0), each["Resources"].get("GPU", 0)
    by_gpu = int(gpus / gpus_per_worker + 1e-6) if gpus_per_worker else cores
    return int(min(cores, by_gpu))


def _answers(address: str, timeout: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout):
            return True
    except (OSError, ValueError, OverflowError):
        return False
