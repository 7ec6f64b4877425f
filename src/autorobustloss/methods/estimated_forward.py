"""Forward correction with a noise matrix that is estimated first: two trainings, one after the other."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.losses import create_loss
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.registry import METHODS
from autorobustloss.training import History, LossObjective, fit, logits

CHECKPOINTS = ("loss", "accuracy", "last")
NEVER_ZERO = 1e-12
"""Smallest entry of a matrix that is used in training: a label of estimated probability 0 would cost infinitely."""


@METHODS.register("fw")
def estimated_forward(oracle: bool = False, outlier_filter: bool = True, checkpoint: str = "loss") -> Procedure:
    """Build forward correction: cross-entropy first, T̂ from its predictions, then a new network under `forward`(T̂).

    oracle: skip the first stage and use the true matrix (privileged information).
    outlier_filter: see `estimate_transition`; the authors set it for MNIST and CIFAR-10, not for CIFAR-100.
    checkpoint: the epoch of the first stage that predicts: with the lowest "loss" on the noisy validation split (the
        authors' choice), the best "accuracy" there, or the "last", which has memorised the noise where the network can.
    Both stages follow the protocol; the first has initial weights of its own. If it diverges, its history is the
    result. `History.steps` counts both.
    Source: Patrini et al., Making Deep Neural Networks Robust to Label Noise, CVPR 2017, section 4, and its code.
    """
    if checkpoint not in CHECKPOINTS:
        raise ConfigError(f"method 'fw': got checkpoint={checkpoint!r}, expected one of {', '.join(CHECKPOINTS)}")

    def run(setting: Setting) -> Trained:
        if oracle:
            return second_stage(setting, cast(Tensor, setting.noise_matrix))  # what it needs is there
        network, first = first_stage(setting, checkpoint)
        if first.stopped == "diverged":
            return nn.ModuleList([network]), first
        eta = logits(network, setting.splits.x_train).double().softmax(dim=1)
        networks, history = second_stage(setting, estimate_transition(eta, outlier_filter))
        return networks, replace(history, steps=first.steps + history.steps)

    if oracle:
        unknown = "method 'fw': oracle=True needs the true noise matrix, which these data do not have"
        return Procedure(run, "noise_matrix", unknown)
    unlabelled = (
        f"method 'fw': checkpoint={checkpoint!r} needs noisy labels of the validation images, which these data do not "
        "have; try checkpoint='last'"
    )
    return Procedure(run, "" if checkpoint == "last" else "valid_noisy", unlabelled)


def first_stage(setting: Setting, checkpoint: str) -> tuple[nn.Module, History]:
    """Train with cross-entropy; return the network at the chosen epoch, and the curves."""
    splits, network = setting.splits, setting.network(1)
    known = splits.y_valid_noisy >= 0
    kept: list[tuple[float, dict[str, Tensor]]] = []

    def keep_the_best(history: History) -> None:
        outputs, labels = logits(network, splits.x_valid)[known], splits.y_valid_noisy[known]
        wrong = (outputs.argmax(1) != labels).double().mean()
        score = (F.cross_entropy(outputs, labels) if checkpoint == "loss" else wrong).item()
        if score < (kept[0][0] if kept else float("inf")):
            kept[:] = [(score, copy.deepcopy(network.state_dict()))]

    objective = LossObjective(network, create_loss("ce"))
    on_epoch = None if checkpoint == "last" else keep_the_best
    history = fit(objective, splits, setting.protocol, setting.seed, evaluate=(), on_epoch=on_epoch)
    if kept:
        network.load_state_dict(kept[0][1])
    return network, history


def second_stage(setting: Setting, matrix: Tensor) -> Trained:
    """Train a new network with forward correction by a matrix."""
    matrix = matrix.double().clamp_min(NEVER_ZERO)
    criterion = create_loss("forward", T=matrix / matrix.sum(dim=1, keepdim=True))
    return setting.fit(LossObjective(setting.network(), criterion.to(setting.splits.x_train.device)))


def estimate_transition(probabilities: Tensor, outlier_filter: bool = True) -> Tensor:
    """Return T̂[true, noisy] from a network's probabilities on the training samples: (N, C) -> (C, C), rows sum to 1.

    Row i is the prediction for the sample with the largest probability of class i, taken for a perfect example of it.
    outlier_filter: look for it among the samples whose probability of class i is below the 97th percentile.
    Source: Patrini et al. 2017, equations 12 and 13, and its code (the filter).

    >>> estimate_transition(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]]), outlier_filter=False)
    tensor([[0.9000, 0.1000],
            [0.3000, 0.7000]])
    """
    scores = probabilities
    if outlier_filter:
        threshold = torch.quantile(scores, 0.97, dim=0, interpolation="higher")
        scores = torch.where(scores >= threshold, 0.0, scores)
    T = probabilities[scores.argmax(dim=0)]
    return T / T.sum(dim=1, keepdim=True)
