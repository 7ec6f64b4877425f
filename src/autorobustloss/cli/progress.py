"""What is shown on standard error while a command works: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from autorobustloss.cli.console import LastingConsole
from autorobustloss.cli.terminal import stop_if_interrupted
from autorobustloss.escape import visible
from autorobustloss.runs import Executor, Job, Result
from autorobustloss.search import Generation, Reporter, SearchConfig

LINE_EVERY = 10.0
"""Seconds between lines of progress where standard error is not a terminal."""


class JobProgress(Progress):
    """Counts jobs: a bar with the time left on a terminal, a line now and then elsewhere, nothing when quiet."""

    def __init__(self, total: int, what: str, quiet: bool, executor: Executor | None = None) -> None:
        console = LastingConsole(stderr=True, quiet=quiet, highlight=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} trainings"),
            TimeElapsedColumn(),
            TextColumn("· left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[load]}", markup=False),
        )
        shown = console.is_terminal and not quiet
        # trainings are slow: all of an hour tell how long one takes
        super().__init__(*columns, console=console, transient=True, disable=not shown, speed_estimate_period=3600)
        self._bar = self.add_task(what, total=total, load="")
        self._executor = executor
        self._spoke = time.monotonic()

    def describe(self, what: str, more: int = 0) -> None:
        """Change the text before the bar; more: jobs to come than were expected before."""
        self.update(self._bar, description=what, total=(self.tasks[0].total or 0) + more)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        with suppress(OSError):
            self.console.print(visible(line), markup=False, soft_wrap=True)
        self._spoke = time.monotonic()

    def on_result(self, job: Job, result: Result, cached: bool) -> None:
        """Count one finished job, which is stored; go no further after a Ctrl-C that something swallowed."""
        stop_if_interrupted()
        (bar,) = self.tasks
        if cached:
            bar.completed += 1  # which does not tell how long one takes
        else:
            self.advance(self._bar)
        load = self._executor.load if self._executor else ""
        if load:
            self.update(self._bar, load=f"· {load}")
        if self.disable and time.monotonic() - self._spoke > LINE_EVERY:
            seconds = bar.time_remaining
            left = "unknown time" if seconds is None else f"{timedelta(seconds=seconds)}"
            self.say(
                f"{bar.description}: {bar.completed:.0f}/{bar.total:.0f} trainings, {left} left"
                + f"; {load}" * bool(load)
            )


class SearchProgress(Reporter):
    """Tells of a search through a JobProgress: generation, fitness, candidates rejected and diverged, time left."""

    def __init__(self, progress: JobProgress, config: SearchConfig) -> None:
        self.progress, self.config = progress, config
        self._rejected = self._diverged = 0
        self._best = 0.0

    def on_generation_start(self, number: int, jobs: int, rejected: int) -> None:
        """Show the generation; jobs of rejected candidates are not coming."""
        self._rejected += rejected
        self.progress.describe(
            f"generation {number}/{self.config.generations} · best {self._best:.3f} · "
            f"rejected {self._rejected} · diverged {self._diverged}",
            more=jobs - self.config.jobs_per_generation,
        )

    def on_result(self, job: Job, result: Result, cached: bool) -> None:
        """Advance the bar."""
        self.progress.on_result(job, result, cached)

    def on_generation(self, generation: Generation) -> None:
        """Keep a line about the generation."""
        self._diverged += generation.diverged
        self._best = max(self._best, generation.best)
        self.progress.say(
            f"generation {generation.number:>3}/{self.config.generations}   "
            f"fitness best {generation.best:.3f}  mean {generation.mean:.3f}  worst {generation.worst:.3f}   "
            f"trained {generation.trained}  rejected {generation.rejected}  diverged {generation.diverged}"
        )

    def on_finalists(self, jobs: int) -> None:
        """Show that the finalists are being scored again."""
        self.progress.describe("finalists on fresh noise", more=jobs)
