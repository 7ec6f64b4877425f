"""Training runs as pure functions of frozen specs, stored the moment they finish."""

from autorobustloss.jobs.evaluate import evaluate
from autorobustloss.jobs.executors import Executor, ProcessExecutor, SerialExecutor, executor_for
from autorobustloss.jobs.job import TRAINING_VERSION, Job, Task
from autorobustloss.jobs.result import Result
from autorobustloss.jobs.run import run_job
from autorobustloss.jobs.store import Store

__all__ = [
    "TRAINING_VERSION",
    "Executor",
    "Job",
    "ProcessExecutor",
    "Result",
    "SerialExecutor",
    "Store",
    "Task",
    "evaluate",
    "executor_for",
    "run_job",
]
