"""How many labels are wrong, as a part of the answer to which loss is best: a cross-validation with the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autorobustloss.benchmark import Answer
from autorobustloss.cli.options.bench import BenchOptions
from autorobustloss.cli.progress import JobProgress
from autorobustloss.cli.running import make_executor
from autorobustloss.cli.terminal import stop_if_interrupted
from autorobustloss.errors import ARLError, MissingDependencyError
from autorobustloss.labels import judge_labels, label_config, require_cleanlab
from autorobustloss.runs import Store
from autorobustloss.runs.tasks import TaskSet

TO_THE_END = ("cosine", "linear")
"""Schedules under which an epoch is not what it is in a shorter training."""


def with_noise(
    answers: Sequence[Answer], options: BenchOptions, known: TaskSet, store: Store, progress: JobProgress
) -> list[Answer]:
    """Return the answers with the share of wrong labels, as networks under each answer's method see it, or why not."""
    return [replace(answer, noise=estimated_noise(answer, options, known, store, progress)) for answer in answers]


def estimated_noise(
    answer: Answer, options: BenchOptions, known: TaskSet, store: Store, progress: JobProgress
) -> float | str:
    """Return the estimated share of wrong labels of a data set, or what stands in the way.

    Five networks judge samples that they have not seen: the answer's, with its method, stopped where it says.
    """
    best, dataset = answer.best, known.datasets[answer.dataset]
    how = best.task.protocol
    task = best.task if how.schedule in TO_THE_END else replace(best.task, protocol=how.but(epochs=best.epoch))
    try:
        require_cleanlab()
        config, pool = label_config(task, dataset, best.trained, name=best.name)
        progress.describe("how many labels are wrong", more=config.folds)
        with make_executor(options, {answer.dataset: pool}, config.folds) as executor:
            return judge_labels(config, pool, store, executor, progress.on_result).noise_rate
    except MissingDependencyError:
        return "it takes cleanlab, pip install 'autorobustloss[labels]'"
    except ARLError as error:
        stop_if_interrupted()
        return str(error)
