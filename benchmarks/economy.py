"""What each economy of the search is worth: fitness against training steps, several seeds.

    python -m benchmarks.economy run --store DIR/economy.sqlite     # hours of one core; a rerun goes on
    python -m benchmarks.economy show --store DIR/economy.sqlite --out docs    # prints the table, draws the picture

The plain search has the paper's twelve dimensions, starts at zero, trains every candidate fully on every task, and has
CMA-ES's default population. Every other variant changes what its line says. The fitness of a search after so many steps
is that of the loss at the mean of its distribution, on noise draws and initial weights that no search has seen; these
trainings are not counted. The plain search's level is the mean of its last three such scores.
"""

from __future__ import annotations

import argparse
import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from autorobustloss.benchmark.bench import pin
from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.methods import MethodSpec
from autorobustloss.report.style import LINES, OKABE_ITO, new_figure
from autorobustloss.runs import Job, Result, Runtime, SerialExecutor, Store, Task, run_jobs
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.search import SPLIT_SEED, Generation, Reporter, generation_seeds, run_search
from autorobustloss.search.space import Space
from autorobustloss.training import create_protocol

CANDIDATES = 600
"""Candidates of the plain search; every variant may train as many steps."""

DATA = DataSpec("digits", train_size=600)
MODEL = "mlp2(hidden=64)"
EPOCHS = 40
SEEDS = 5
DRAWS = 8
"""Fresh noise draws on which the mean of the distribution is scored."""

POINTS = 12
"""How often a search of the full budget is scored on its way, evenly in steps."""


def tasks() -> tuple[Task, ...]:
    """Return what is searched on: a part of digits under two noises."""
    protocol = create_protocol("digits", epochs=EPOCHS, evaluate_every=EPOCHS)
    return tuple(Task(DATA, noise, MODEL, protocol) for noise in ("sym:0.8", "pair:0.4"))


def patient(config: SearchConfig) -> SearchConfig:
    """Return a search that gives up a network whose training accuracy is at chance after a quarter of the epochs."""
    return replace(
        config,
        tasks=tuple(replace(t, protocol=t.protocol.but(patience_at_chance=EPOCHS // 4)) for t in config.tasks),
    )


def variants() -> dict[str, SearchConfig]:
    """Return the searches compared, by what is different about them."""
    plain = SearchConfig(tasks(), Space("paper"), population=11, sigma=0.5, start="zero")
    small = replace(plain, space=Space("canonical"), population=9)
    log = replace(small, space=Space("canonical+log"))
    return {
        "plain": plain,
        "start at MAE": replace(plain, start="mae"),
        "canonical space": small,
        "canonical+log space": log,
        "race": replace(plain, race=0.5),
        "1 of 2 tasks": replace(plain, tasks_per_generation=1),
        "chance rule": patient(plain),
        "population 22": replace(plain, population=22),
        "canonical, start at MAE, race": replace(small, start="mae", race=0.5),
        "canonical+log, start at MAE, race": replace(log, start="mae", race=0.5),
    }


class BudgetSpent(Exception):  # noqa: N818, no error
    """The budget of steps is used up."""


class Meter(Reporter):
    """Counts training steps and notes where the distribution was after each generation."""

    def __init__(self, budget: int, config: SearchConfig) -> None:
        self.budget, self.scale = budget, config.space.scale
        self.steps, self.trail = 0, list[tuple[int, MethodSpec]]()

    def on_result(self, job: Job, result: Result, cached: bool) -> None:
        self.steps += result.history.steps

    def on_generation(self, generation: Generation) -> None:
        numbers = {name: generation.loss[name] for name in ("theta", "log_weight")}
        loss = MethodSpec.of("taylor", **numbers, scale=self.scale)
        self.trail.append((self.steps, loss))
        if self.steps >= self.budget:
            raise BudgetSpent


def trail(config: SearchConfig, budget: int, store: Store, executor: SerialExecutor) -> list[tuple[int, MethodSpec]]:
    """Run a search until it has used up its steps; return its distribution's mean after each generation."""
    meter = Meter(budget, config)
    with suppress(BudgetSpent):
        run_search(replace(config, generations=10**6), {"digits": 10}, store, executor, meter)
    return meter.trail


def curve(
    config: SearchConfig, trail: list[tuple[int, MethodSpec]], budget: int, store: Store, executor: SerialExecutor
) -> list[tuple[int, float]]:
    """Return (steps, fitness of the mean on fresh draws) along a search."""
    spacing = CANDIDATES * steps_per_candidate() / POINTS
    wanted = np.arange(spacing, budget + 1, spacing)
    steps = np.array([s for s, _ in trail])
    chosen = sorted({int(np.searchsorted(steps, w).clip(0, len(trail) - 1)) for w in wanted})
    points = [trail[i] for i in chosen]
    draws = [generation_seeds(10**6, -1 - i) for i in range(DRAWS)]
    grid = [
        Job(task, method, SPLIT_SEED, *draw, evaluate=("valid_clean",))
        for _, method in points
        for task in tasks()
        for draw in draws
    ]
    values = np.nan_to_num([r.history.last("valid_clean") for r in run_jobs(grid, store, executor)])
    means = values.reshape(len(points), -1).mean(1)
    return [(steps, float(m)) for (steps, _), m in zip(points, means)]


def steps_per_candidate() -> int:
    """Return the training steps of one candidate of the plain search."""
    batch = create_protocol("digits").batch_size
    return len(tasks()) * EPOCHS * math.ceil(DATA.train_size / batch)


def run(store: Path, seeds: list[int], names: list[str], share: float) -> None:
    """Run the searches and keep their curves in the store."""
    budget = int(CANDIDATES * steps_per_candidate())
    datasets = {"digits": load_dataset("digits")}
    with Store(store) as database, SerialExecutor(datasets, Runtime(cohorts=True)) as executor:
        for seed in seeds:
            for name in names:
                key = f"economy {name} {seed}"
                if database.get_meta(key):
                    continue
                config = replace(variants()[name], seed=seed)
                config = replace(config, tasks=pin(config.tasks, datasets))
                part = budget if name == "plain" else int(share * budget)
                points = curve(config, trail(config, part, database, executor), part, database, executor)
                database.keep(key, json.dumps(points))
                print(f"{name}, seed {seed}: {points[-1][1]:.3f} after {points[-1][0]} steps", flush=True)


def show(store: Path, out: Path) -> None:
    """Print the table and draw the picture."""
    unit = steps_per_candidate()
    with Store(store) as database:
        curves = {
            (name, seed): json.loads(text)
            for name in variants()
            for seed in range(SEEDS)
            if (text := database.get_meta(f"economy {name} {seed}"))
        }
    table = table_of(curves, unit)
    print(table)
    draw(curves, unit, out)


def table_of(curves: dict[tuple[str, int], list], unit: int) -> str:
    """Return the table in Markdown: fitness at a third of the plain search's steps, and the steps to its level."""
    lines = [
        f"| variant | seeds | at {CANDIDATES // 3} candidates' steps | at {CANDIDATES} | share of steps to the plain "
        "search's level, by seed | median |",
        "|---|---|---|---|---|---|",
    ]
    third = CANDIDATES * unit / 3
    for name in variants():
        own = {seed: points for (n, seed), points in curves.items() if n == name}
        if not own:
            continue
        early = [value_at(p, third) for p in own.values()]
        late = [p[-1][1] for p in own.values() if p[-1][0] >= 0.95 * CANDIDATES * unit]
        shares = []
        for seed, points in own.items():
            if ("plain", seed) in curves:
                level = float(np.mean([v for _, v in curves["plain", seed][-3:]]))
                shares.append(next((s / (CANDIDATES * unit) for s, v in points if v >= level), float("inf")))
        shown = " ".join("-" if s == float("inf") else f"{s:.2f}" for s in shares)
        median = float(np.median(shares)) if shares else float("nan")
        lines.append(
            f"| {name} | {len(own)} | {100 * np.mean(early):.1f} | {f'{100 * np.mean(late):.1f}' if late else ''} | "
            f"{shown} | {'not reached' if median == float('inf') else f'{median:.2f}'} |"
        )
    return "\n".join(lines)


def value_at(points: list, steps: float) -> float:
    """Return the fitness at a number of steps, between the points on a straight line."""
    return float(np.interp(steps, [s for s, _ in points], [v for _, v in points]))


def draw(curves: dict[tuple[str, int], list], unit: int, out: Path) -> None:
    """Draw the median fitness over seeds against training steps."""
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot()
    names = [n for n in variants() if any(name == n for name, _ in curves)]
    for i, name in enumerate(names):
        own = [points for (n, _), points in curves.items() if n == name]
        end = min(p[-1][0] for p in own)
        grid = np.linspace(max(p[0][0] for p in own), end, 40)
        values = np.array([[value_at(p, s) for s in grid] for p in own])
        colour = OKABE_ITO[i % len(OKABE_ITO)]
        axes.plot(grid / unit, 100 * np.median(values, axis=0), color=colour, label=name, ls=LINES[i % len(LINES)])
        if name in ("plain", "canonical space"):
            axes.fill_between(
                grid / unit, 100 * values.min(0), 100 * values.max(0), color=colour, alpha=0.15, linewidth=0
            )
    axes.set_xlabel("training steps, in candidates of the plain search")
    axes.set_ylabel("clean validation accuracy of the mean loss (%)")
    axes.set_title("Search on digits: median over seeds (bands: smallest to largest of five)", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(out / "economy.png")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "show"))
    parser.add_argument("--store", type=Path, required=True, help="SQLite file of the trainings")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="search seeds (default: %(default)s)")
    parser.add_argument("--variants", default=",".join(variants()), help="which searches (default: all)")
    parser.add_argument(
        "--share", type=float, default=1.0, help="budget of all but the plain one (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the picture")
    options = parser.parse_args()
    if options.what == "show":
        show(options.store, options.out)
    else:
        seeds = [int(s) for s in options.seeds.split(",")]
        run(options.store, seeds, options.variants.split(","), options.share)


if __name__ == "__main__":
    main()
