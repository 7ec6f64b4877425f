"""The answer in words, and the line of code that follows from it."""

from __future__ import annotations

import math
from shlex import quote

from autorobustloss.benchmark.answer import Answer, Candidate, lead
from autorobustloss.losses.literature.values import PENALTY
from autorobustloss.methods import MethodSpec
from autorobustloss.registry import LOSSES, METHODS

LEARNED = ("taylor", "gated")
"""What learned losses are called as methods."""


def paragraph(answer: Answer) -> str:
    """Return the answer in a paragraph: what is best, how sure that is, what the second costs, the line to paste."""
    return f"{conclusion(answer)} To use it: {line_of_code(answer.best)}"


def conclusion(answer: Answer) -> str:
    """Return the sentences of the answer: what is best, how sure that is, what the second costs."""
    best, seeds = answer.best, len(answer.best.scores)
    how, rates = best.task.protocol, f"the best of {answer.rates}" if answer.rates > 1 else "the only one tried"
    sentences = [
        f"Which loss for {answer.dataset}, its labels as they come: {best.name}, network {best.task.model}, learning "
        f"rate {how.lr:g} ({rates}; {how.optimizer}, batches of {how.batch_size}), stopped after epoch {best.epoch} of "
        f"{how.epochs}",
        f"It agrees with {_percent(best)} % of the noisy validation labels"
        + (f" (mean ± standard error over {seeds} seeds)" if seeds > 1 else " (one seed; --seeds 3 tells how sure)"),
        _second(answer),
        _noise(answer.noise),
    ]
    return "".join(f"{sentence}. " for sentence in sentences if sentence).rstrip()


def _percent(found: Candidate) -> str:
    return f"{100 * found.mean:.1f}" + ("" if math.isnan(found.error) else f" ± {100 * found.error:.1f}")


def _second(answer: Answer) -> str:
    second, seeds = answer.second, len(answer.best.scores)
    if second is None:
        return "It is the only method that was tried: --methods names others"
    gap, error = lead(answer.best, second)
    points = f"{100 * gap:.1f}" + ("" if math.isnan(error) else f" ± {100 * error:.1f}")
    time = second.seconds / answer.best.seconds if answer.best.seconds else math.nan
    cost = "" if math.isnan(time) else f" and takes {time:.1f} times as long"
    return (
        f"The runner-up, {second.name} (learning rate {second.task.protocol.lr:g}, epoch {second.epoch}), costs "
        f"{points} points{cost}. {_told_apart(answer, seeds)}"
    )


def _told_apart(answer: Answer, seeds: int) -> str:
    others, alike = len(answer.candidates) - 1, [found.name for found in answer.alike]
    if seeds == 1:
        return "One seed tells no method from another"
    if not alike:
        return f"With {seeds} seeds it is surely ahead of all {others} others"
    which = f"none of the other {others} methods" if len(alike) == others > 1 else ", ".join(alike)
    can = "can" if len(alike) == others > 1 else "cannot"
    return f"With {seeds} seeds {which} {can} be told from it"


def _noise(noise: float | str) -> str:
    if isinstance(noise, str):
        return f"How many labels are wrong was not estimated: {noise}" if noise else ""
    return f"About {100 * noise:.1f} % of the labels look wrong, to such networks and cleanlab; arl labels says which"


def line_of_code(best: Candidate) -> str:
    """Return the line to paste: a loss in place of cross-entropy, or the command that runs a procedure.

    >>> from autorobustloss.data import DataSpec
    >>> from autorobustloss.runs import Task
    >>> task = Task(DataSpec("own"), "given", "mlp2")
    >>> line_of_code(Candidate("sce", MethodSpec.of("sce", alpha=6), task, 3, {0: 0.5}, 1.0))
    'criterion = arl.create_loss("sce(alpha=6)")'
    """
    method = best.trained
    if method.name in METHODS or "match_scale" in method.options:
        options = {"dataset": best.task.dataset.name, "model": best.task.model, "loss": method.label}
        return f"arl train {' '.join(f'--{key} {quote(text)}' for key, text in options.items())} (more than a loss)"
    if method.name == "ce":
        return "criterion = torch.nn.CrossEntropyLoss()"
    penalty = method.options.get(PENALTY)
    text = MethodSpec.of(method.name, **{k: v for k, v in method.options.items() if k != PENALTY}).label
    if method.name in LEARNED or "T" in method.options:  # whose numbers are long
        text = best.name if best.name.partition("(")[0] in LOSSES else f"{best.name}/loss.json"
    more = f", and {penalty:g} times the sum of all |weights| added to it in place of weight decay" if penalty else ""
    return f'criterion = arl.create_loss("{text}"){more}'
