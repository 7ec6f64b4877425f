"""A scikit-learn classifier that trains a network under a robust loss: tables, images, any network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from autorobustloss.data import UNKNOWN, Splits
from autorobustloss.errors import ConfigError
from autorobustloss.integrations.fitting import Training, create_criterion, create_network, suited, train
from autorobustloss.integrations.inputs import create_encoder, samples_of, validated
from autorobustloss.integrations.targets import classes_of, hold_out, labels_of
from autorobustloss.runs import Runtime
from autorobustloss.seeding import derive_seed
from autorobustloss.training import TrainingProtocol
from autorobustloss.training.evaluation import logits


class RobustClassifier(ClassifierMixin, BaseEstimator):
    """A network trained under a robust loss, with preprocessing inside, as a scikit-learn classifier.

    X: a data frame (pandas, polars, Arrow) or array (N, F) of numbers, truth values, dates, strings, categories, with
        gaps (see `TableEncoder` for what becomes of them); or an array of images (N, H, W), (N, H, W, C) or (N, C, H,
        W), which are standardised by channel. y: labels (N,) of any type that can be sorted.

    Of the rows, `validation_fraction` is held out, stratified by the labels as they are, noise included. After each
    epoch the temperature T is sought under which softmax(logits/T) makes these labels likeliest; the epoch in which
    they are likeliest of all is kept, with its T, and training ends after `patience` epochs without a better one.
    `predict_proba` is softmax(logits/T): what is calibrated is the probability of the label as somebody will write it,
    mistakes included. Where fewer than 30 rows would be held out, none are: all epochs are trained, and T = 1.

    loss: what `create_loss` takes, a name alone with its authors' values for the number of classes; or a module that
        has a `reduction`, of which a copy is used.
    model: a name of `list_models`, with hyper-parameters or without; or a function (input_shape, num_classes) that
        returns a fresh `torch.nn.Module` with logits (N, num_classes). input_shape is (F,) or (C, H, W).
    optimizer, lr, weight_decay, batch_size, epochs, augment: see `TrainingProtocol`.
    patience: None to train all epochs, and still keep the best.
    class_weight: weights by label, or "balanced", times `sample_weight`. Rows with weight 0 are left out.
    warm_start: a second `fit` goes on with the network, loss and encoder of the first, on the same classes.
    random_state: the held-out rows, initial weights, order and dropout follow from it.
    verbose: 1 prints what becomes of the columns and how training ended, 2 each epoch, too.

    After fitting: `classes_`, `network_`, `encoder_`, `criterion_`, `temperature_`, `best_epoch_`, `n_iter_` (epochs
    trained), `loss_curve_`, `valid_loss_curve_` (−log-likelihood of the held-out labels by epoch, at its temperature).
    Raises ConfigError and DataError, which say what was got, what was expected, what to try.

    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> classifier = RobustClassifier("gce", epochs=20, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.9, classifier.predict_proba(X).shape
    (True, (178, 3))
    """

    classes_: np.ndarray
    encoder_: Any
    network_: nn.Module
    criterion_: nn.Module
    temperature_: float

    def __init__(
        self,
        loss: Any = "arl",
        model: str | Callable[[tuple[int, ...], int], nn.Module] = "mlp2",
        *,
        optimizer: str = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        batch_size: int = 128,
        epochs: int = 100,
        augment: str = "none",
        validation_fraction: float = 0.2,
        patience: int | None = 20,
        class_weight: Mapping[Any, float] | str | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["cpu", "cuda"] = "cpu",
        verbose: int = 0,
    ) -> None:
        self.loss = loss
        self.model = model
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.augment = augment
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RobustClassifier:
        """Train on samples and labels; return self."""
        again = self.warm_start and hasattr(self, "network_")
        return self._learn(X, y, sample_weight, None, again, self._protocol(), self.validation_fraction)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> RobustClassifier:
        """Train one epoch on some rows, none of them held out; return self.

        The first call fits the encoder on its rows, and needs `classes` where they do not show all classes. A
        temperature that `fit` found stays. Adam's moments begin anew with each call.
        """
        again, protocol = hasattr(self, "network_"), self._protocol().but(epochs=1)
        return self._learn(X, y, sample_weight, classes, again, protocol, 0.0)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of highest probability for each sample, (N,)."""
        scores = self._scores(X)
        return self.classes_[scores.argmax(1).numpy()]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return calibrated probabilities, (N, C), in the order of `classes_`: softmax(logits/T)."""
        scores = self._scores(X)
        return torch.softmax(scores.double() / self.temperature_, 1).numpy()

    def _scores(self, X: Any) -> Tensor:
        check_is_fitted(self, "network_")
        X = validated(self, X, reset=False)
        x = torch.from_numpy(self.encoder_.transform(samples_of(X, self.encoder_)))
        with suited(x):
            scores = logits(self.network_.to(self.device), x.to(self.device)).cpu()
        self.network_.cpu()  # so that a pickle can be read where there is no such device
        return scores

    def _protocol(self) -> TrainingProtocol:
        """Return the protocol, and refuse what is wrong in the other parameters before anything is trained."""
        if not 0 <= self.validation_fraction < 1:
            raise ConfigError(f"got validation_fraction={self.validation_fraction!r}, expected a number in [0, 1)")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"got patience={self.patience!r}, expected a number of epochs, or None for all")
        if Runtime(self.device, workers=1).device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("got device='cuda', but PyTorch sees no GPU here; use 'cpu'")
        given = {name: getattr(self, name) for name in ("optimizer", "lr", "weight_decay", "batch_size", "augment")}
        return TrainingProtocol(epochs=self.epochs, **given)

    def _learn(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        classes: Any,
        again: bool,
        protocol: TrainingProtocol,
        fraction: float,
    ) -> RobustClassifier:
        """Train: a new network, or (again) the one that there is."""
        X = validated(self, X, reset=not again)
        samples = samples_of(X, self.encoder_ if again else None)
        y, weights = labels_of(y, len(X), sample_weight, self.class_weight)
        counted = np.ones(len(y), dtype=bool) if weights is None else weights > 0
        known = classes_of(y[counted], classes, self.classes_ if again else None)
        index = np.searchsorted(known, np.where(counted, y, known[0]))
        seed = int(check_random_state(self.random_state).randint(2**31))
        held_out, rows = hold_out(index, counted, fraction, seed)
        if not again:
            self.classes_, self.encoder_, self.temperature_, self._epochs = known, create_encoder(samples, rows), 1.0, 0
            shape = self.encoder_.transform(samples[rows[:1]]).shape[1:]
            self.network_ = create_network(self.model, shape, len(known), seed)
            self.criterion_ = create_criterion(self.loss, len(known))
        self._tell(1, *self.encoder_.notes)
        x, labels = torch.from_numpy(self.encoder_.transform(samples)), torch.from_numpy(index)
        with suited(x):
            found = self._train(x, labels, weights, rows, held_out, protocol, derive_seed("fit", seed, self._epochs))
        self.n_iter_, self.best_epoch_ = len(found.history.train_loss), found.best_epoch
        self._epochs += self.n_iter_
        self.loss_curve_, self.valid_loss_curve_ = found.history.train_loss, found.valid_loss
        told = ""
        if len(held_out):
            self.temperature_ = found.temperature
            accuracy = found.valid_accuracy[found.best_epoch - 1]
            told = f": {accuracy:.3f} of {len(held_out)} held-out labels, temperature {self.temperature_:.2f}"
        self._tell(1, f"kept epoch {self.best_epoch_} of {self.n_iter_}{told}")
        return self

    def _train(
        self,
        x: Tensor,
        y: Tensor,
        weights: np.ndarray | None,
        rows: np.ndarray,
        held_out: np.ndarray,
        protocol: TrainingProtocol,
        seed: int,
    ) -> Training:
        none = y[:0]
        splits = Splits(
            *(x[rows], y[rows], torch.full_like(y[rows], UNKNOWN)),
            *(x[held_out], none, y[held_out]),
            *(x[:0], none),
            num_classes=len(self.classes_),
            noise_rate=None,
        )

        def tell(found: Training) -> None:
            score = f", {found.valid_accuracy[-1]:.3f} of the held-out labels" if found.valid_accuracy else ""
            self._tell(2, f"epoch {len(found.history.train_loss)}: loss {found.history.train_loss[-1]:.4f}{score}")

        found = train(
            self.network_.to(self.device),
            self.criterion_.to(self.device),
            splits.to(self.device),
            protocol,
            seed,
            weights=None if weights is None else weights[rows],
            valid_weights=None if weights is None else weights[held_out],
            patience=self.patience,
            on_epoch=tell,
        )
        self.network_.cpu()
        self.criterion_.cpu()
        if found.history.stopped:
            epochs = len(found.history.train_loss)
            self._tell(1, f"training diverged after epoch {epochs}; try a lower lr than {self.lr:g}")
        return found

    def _tell(self, verbose: int, *lines: str) -> None:
        if self.verbose >= verbose:
            print(*(f"[{type(self).__name__}] {line}" for line in lines), sep="\n", flush=True)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that gaps, strings and categories are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """Tell the same to scikit-learn before 1.6."""
        return {"allow_nan": True, "X_types": ["2darray", "3darray", "string", "categorical"]}
