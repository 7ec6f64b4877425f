"""Which executor a name and a runtime mean."""

from __future__ import annotations

from collections.abc import Mapping

from autorobustloss.data import Dataset
from autorobustloss.errors import ConfigError
from autorobustloss.runs.executors import Executor, ProcessExecutor, SerialExecutor
from autorobustloss.runs.runtime import Runtime


def executor_for(
    datasets: Mapping[str, Dataset],
    runtime: Runtime | None = None,
    executor: str = "local",
    workers: int | None = None,
    gpus_per_worker: float = 0.0,
) -> Executor:
    """Return the executor of a name and a runtime.

    executor: "local" for this process where the runtime has one worker, a pool where it has more; "ray" or
        "ray://HOST:PORT" for `RayExecutor`, to which workers and gpus_per_worker belong. runtime: None for all cores.

    Raises ConfigError for another name, MissingDependencyError without Ray.
    """
    name, _, address = executor.partition("://")
    if name == "ray" and bool(address) == ("://" in executor):
        from autorobustloss.runs.cluster.executor import RayExecutor

        return RayExecutor(datasets, runtime, address or None, workers, gpus_per_worker)
    if executor != "local":
        raise ConfigError(f"got executor {executor!r}, expected local, ray, or ray://HOST:PORT of a cluster's head")
    runtime = runtime or Runtime()
    return (SerialExecutor if runtime.workers == 1 else ProcessExecutor)(datasets, runtime)
