"""Average ranks over a part of a committed table's tasks; nothing is trained.

    python docs/evidence/ranks.py docs/evidence/held-out.md --only '*/clean'   # one part, all methods
    python docs/evidence/ranks.py                                              # the table in docs/evidence/README.md
    python docs/evidence/ranks.py --write                                      # put it there

A pattern is one of file names (`fnmatch`), of DATASET/MODEL/NOISE; `!PATTERN` means all other tasks.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from pathlib import Path

from autorobustloss.benchmark.ranking import average_ranks

HERE = Path(__file__).parent
BEGIN, END = "<!-- ranks: begin -->\n", "<!-- ranks: end -->"
SHOWN = ("arl-taylor", "arl-mild", "gce", "nce+mae", "sce", "logitclip", "tuned-ce", "ce")
PARTS = {
    "all": "*", "images": "!*[[]*", "tables": "*[[]*", "26 classes": "*[[]split=26*", "clean labels": "*/clean",
    "80 % symmetric": "*/sym:0.8", "pair flip": "*/pair*", "CIFAR-10": "cifar10/*",
}  # fmt: skip
TABLES_READ = {"as published": "held-out.md", "at matched scale": "matched.md", "at the best learning rate": "tuned.md"}


def read(path: Path) -> dict[str, tuple[list[str], dict[str, list[float]]]]:
    """Return, by way of selection, the tasks of a table and each method's accuracies; a failed cell is the worst.

    A method that the table does not rank, because it trains as another does, is left out.
    """
    found: dict[str, tuple[list[str], dict[str, list[float]]]] = {}
    selection, tasks = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip("* ") for cell in line.strip("| ").split(" | ")]
        if line.startswith("*") and not line.startswith("**"):
            selection = line.strip("*")
        elif line.startswith("| method"):
            tasks = [cell for cell in cells if "/" in cell]
            found[selection] = (tasks, {})
        elif line.startswith("| ") and "---" not in line and cells[len(tasks) + 1] != "–":
            found[selection][1][cells[0]] = [_number(cell) for cell in cells[1 : len(tasks) + 1]]
    return found


def _number(cell: str) -> float:
    try:
        return float(cell.split(" ")[0])
    except ValueError:
        return float("-inf")


def ranked(path: Path, only: str, selection: str = "last epoch") -> tuple[int, dict[str, float]]:
    """Return how many tasks match, and the average rank over them of each method, the best first."""
    tasks, rows = next(block for name, block in read(path).items() if name.startswith(selection))
    keep = [i for i, task in enumerate(tasks) if fnmatch(task, only.removeprefix("!")) != only.startswith("!")]
    ranks = average_ranks([[values[i] for values in rows.values()] for i in keep])
    return len(keep), dict(sorted(zip(rows, map(float, ranks)), key=lambda item: item[1]))


def place(ranks: dict[str, float], method: str) -> int:
    """Return the place of a method: 1 and the number of those of a smaller average rank."""
    return 1 + sum(rank < ranks[method] - 1e-9 for rank in ranks.values())


def summary() -> str:
    """Return the table of `PARTS`: average rank and place."""
    lines = [
        f"| last epoch | tasks | {' | '.join(SHOWN)} | the best |",
        "| --- " + "| ---: " * (len(SHOWN) + 1) + "| --- |",
    ]
    for how, file in TABLES_READ.items():
        for part, pattern in PARTS.items():
            tasks, ranks = ranked(HERE / file, pattern)
            cells = [f"{ranks[m]:.1f} ({place(ranks, m)})" for m in SHOWN]
            best = ", ".join(m for m in ranks if place(ranks, m) == 1)
            lines.append(f"| {how}: {part} | {tasks} | {' | '.join(cells)} | {best} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print ranks, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path, help="a table in Markdown, as arl bench writes it")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="tasks (default: all)")
    parser.add_argument("--selection", default="last epoch", help="how an epoch is selected (default: last epoch)")
    parser.add_argument("--write", action="store_true", help="put the summary into README.md beside this file")
    options = parser.parse_args()
    if options.table:
        tasks, ranks = ranked(options.table, options.only, options.selection)
        print(f"{tasks} tasks")
        for method, rank in ranks.items():
            print(f"{place(ranks, method):3}  {rank:5.2f}  {method}")
    elif options.write:
        readme = HERE / "README.md"
        before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
        readme.write_text(before + BEGIN + "\n" + summary() + "\n" + END + rest.split(END)[1], encoding="utf-8")
    else:
        print(summary(), end="")


if __name__ == "__main__":
    main()
