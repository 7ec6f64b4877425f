"""Training runs as pure functions of frozen specs, stored the moment they finish."""

from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.executors import Executor, ProcessExecutor, SerialExecutor, executor_for
from autorobustloss.runs.job import TRAINING_VERSION, Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.runtime import Runtime
from autorobustloss.runs.store import Store
from autorobustloss.runs.trainer import run_job

__all__ = [
    "TRAINING_VERSION",
    "Executor",
    "Job",
    "ProcessExecutor",
    "Result",
    "Runtime",
    "SerialExecutor",
    "Store",
    "Task",
    "executor_for",
    "run_job",
    "run_jobs",
]
