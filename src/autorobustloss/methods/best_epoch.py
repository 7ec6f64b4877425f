"""Early stopping without clean labels: the weights of the epoch that does best on noisy validation labels."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from autorobustloss.methods.procedure import Setting, Trained
from autorobustloss.training import History, Objective, TrainingProtocol, accuracies
from autorobustloss.training.evaluation import labelled_splits
from autorobustloss.training.history import SPLITS


def fit_to_best_epoch(setting: Setting, objective: Objective, protocol: TrainingProtocol) -> Trained:
    """Train to the end, then go back to the (first) evaluated epoch of the highest accuracy on noisy validation labels.

    The curves of the splits end with that epoch; losses, training accuracies and steps are those of all epochs. Of a
    run that diverges what was best before counts.
    """
    noisy = labelled_splits(setting.splits, ("valid_noisy",))
    best, epoch = -1.0, 0
    weights: dict[str, Tensor] = {}

    def keep(history: History) -> None:
        nonlocal best, epoch
        if history.epochs and history.epochs[-1] == len(history.train_loss):  # this one was evaluated
            asked = history.valid_noisy or [accuracies(objective.networks, noisy, protocol.precision)["valid_noisy"]]
            if asked[-1] > best:
                best, epoch = asked[-1], history.epochs[-1]
                weights.update({key: value.clone() for key, value in objective.networks.state_dict().items()})
        if setting.on_epoch is not None:
            setting.on_epoch(history)

    networks, history = replace(setting, on_epoch=keep).fit(objective, protocol)
    if not weights:
        return networks, history
    networks.load_state_dict(weights)
    end = history.epochs.index(epoch) + 1
    curves = {name: getattr(history, name)[:end] for name in ("epochs", *SPLITS)}
    stopped = "" if history.stopped == "diverged" else history.stopped
    return networks, replace(history, **curves, stopped=stopped)
