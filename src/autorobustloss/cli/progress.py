"""What is shown on standard error while a command works: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from rich.progress import Progress, ProgressColumn
from rich.progress import Task as Shown
from rich.table import Column
from rich.text import Text

from autorobustloss.cli.console import LastingConsole
from autorobustloss.cli.terminal import stop_if_interrupted
from autorobustloss.columns import cells, cut, wrapped
from autorobustloss.escape import clipped, visible
from autorobustloss.runs import Executor, Job, Result
from autorobustloss.search import Generation, Reporter, SearchConfig

LINE_EVERY = 10.0
"""Seconds between lines of progress where standard error is not a terminal."""
BARS = (24, 12)
"""Columns of the bar; the first for which there is room."""


class Line(ProgressColumn):
    """The one line of progress: what is done of all, the best so far, the time left, a bar where there is room."""

    max_refresh = 0.1

    def __init__(self, width: Callable[[], int]) -> None:
        self._width = width
        super().__init__(Column(no_wrap=True))

    def render(self, task: Shown) -> Text:
        """Return the line; what matters least is left out where it would not fit."""
        room, said = self._width() - 1, parts(task)
        while len(said) > 2 and cells(" · ".join(said)) > room:
            said.pop()
        line = cut(" · ".join(said), room)
        bar = next((width for width in BARS if width < room - cells(line)), 0)
        return Text(f"{filled(task.completed / (task.total or 1), bar)} {line}".lstrip())


def filled(share: float, width: int) -> str:
    """Return a bar that is full to a share.

    >>> filled(0.5, 4)
    '━━╌╌'
    """
    full = int(width * min(max(share, 0.0), 1.0))
    return "━" * full + "╌" * (width - full)


def parts(task: Shown) -> list[str]:
    """Return what there is to say of the work, the most important first."""
    seconds = task.time_remaining
    return [
        task.description,
        f"{task.completed:.0f}/{task.total:.0f} trainings",
        *filter(None, [task.fields["best"]]),
        *([] if seconds is None else [f"{timedelta(seconds=int(seconds))} left"]),
        *filter(None, [task.fields["load"], task.fields["more"]]),
    ]


class JobProgress(Progress):
    """Counts jobs: one live line on a terminal, a line now and then elsewhere, nothing when quiet."""

    def __init__(self, total: int, what: str, quiet: bool, executor: Executor | None = None) -> None:
        console = LastingConsole(stderr=True, quiet=quiet, highlight=False)
        shown = console.is_terminal and not quiet
        # trainings are slow: all of an hour tell how long one takes
        super().__init__(
            Line(lambda: console.width), console=console, transient=True, disable=not shown, speed_estimate_period=3600
        )
        self._bar = self.add_task(what, total=total, load="", best="", more="")
        self._executor = executor
        self._spoke = time.monotonic()

    def describe(self, what: str, more: int = 0, best: str = "", beside: str = "") -> None:
        """Change what is said; more: jobs to come than were expected before; beside: what matters least."""
        self.update(self._bar, description=visible(what), total=(self.tasks[0].total or 0) + more, more=beside)
        self.tell_best(best)

    def tell_best(self, best: str) -> None:
        """Change what is said of the best so far."""
        self.update(self._bar, best=visible(best))

    def say(self, line: str) -> None:
        """Print a line that stays."""
        text = visible(line)
        if not self.disable:
            text = wrapped(text, self.console.width)
        with suppress(OSError):
            self.console.print(text, markup=False, soft_wrap=True)
        self._spoke = time.monotonic()

    def on_result(self, job: Job, result: Result, cached: bool) -> None:
        """Count one finished job, which is stored; go no further after a Ctrl-C that something swallowed."""
        stop_if_interrupted()
        (bar,) = self.tasks
        if cached:
            bar.completed += 1  # which does not tell how long one takes
        else:
            self.advance(self._bar)
        if self._executor and (load := self._executor.load):
            self.update(self._bar, load=load)
        if self.disable and time.monotonic() - self._spoke > LINE_EVERY:
            self.say(" · ".join(parts(bar)))


class BestSoFar:
    """Tells a JobProgress of each result, and which had the best test accuracy so far."""

    def __init__(self, progress: JobProgress) -> None:
        self._progress, self._best = progress, -math.inf

    def __call__(self, job: Job, result: Result, cached: bool) -> None:
        """Count a job."""
        accuracy = result.history.last("test")
        if accuracy > self._best:
            self._best = accuracy
            self._progress.tell_best(f"best {100 * accuracy:.1f} % ({clipped(job.method.label, 20)})")
        self._progress.on_result(job, result, cached)


class SearchProgress(Reporter):
    """Tells of a search through a JobProgress: generation, candidates done of all, best fitness so far, time left."""

    def __init__(self, progress: JobProgress, config: SearchConfig) -> None:
        self.progress, self.config = progress, config
        self._rejected = self._diverged = self._number = self._done = 0
        self._jobs = 1
        self._best = -math.inf

    def _tell(self, more: int = 0) -> None:
        size, number = self.config.population, self._number
        candidates = size * (number - 1) + int(size * min(self._done / self._jobs, 1.0))
        self.progress.describe(
            f"generation {number}/{self.config.generations} · {candidates}/{size * self.config.generations} candidates",
            more=more,
            best=f"best {self._best:.3f}" if self._best > 0 else "",
            beside=f"rejected {self._rejected} · diverged {self._diverged}",
        )

    def on_generation_start(self, number: int, jobs: int, rejected: int) -> None:
        """Show the generation; jobs of rejected candidates are not coming."""
        self._rejected += rejected
        self._number, self._jobs, self._done = number, max(jobs, 1), 0
        self._tell(more=jobs - self.config.jobs_per_generation)

    def on_result(self, job: Job, result: Result, cached: bool) -> None:
        """Advance the line."""
        self._done += 1
        if self._number:
            self._tell()
        self.progress.on_result(job, result, cached)

    def on_generation(self, generation: Generation) -> None:
        """Keep a line about the generation."""
        self._diverged += generation.diverged
        self._best = max(self._best, generation.best)
        lost = {"rejected": generation.rejected, "diverged": generation.diverged}
        self.progress.say(
            f"generation {generation.number:>3}/{self.config.generations}  fitness best {generation.best:.3f}  "
            f"mean {generation.mean:.3f}  worst {generation.worst:.3f}  trained {generation.trained}"
            + "".join(f"  {what} {count}" for what, count in lost.items() if count)
        )

    def on_finalists(self, jobs: int) -> None:
        """Show that the finalists are being scored again."""
        self._number = 0
        self.progress.describe("finalists on fresh noise", more=jobs, best=f"best {self._best:.3f}")
