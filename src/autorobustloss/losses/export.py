"""A loss as stand-alone code in another library, or as a formula."""

from __future__ import annotations

import inspect

from autorobustloss.errors import UnsupportedArgumentError
from autorobustloss.losses.base import LearnableLoss, RobustLoss
from autorobustloss.losses.gated import export as gated_export
from autorobustloss.losses.gated.module import GatedLoss
from autorobustloss.losses.literature.formulas import body_of, latex_of, name_of
from autorobustloss.losses.taylor.module import TaylorLoss
from autorobustloss.losses.writing import code
from autorobustloss.losses.writing.formats import FOLDER, check_format, module

TITLE = "A classification loss for noisy labels, written out by autorobustloss"


def export_loss(loss: RobustLoss, format: str = "torch") -> str:
    """Return a loss as a Python file that needs nothing but the library of a format, or as LaTeX for math mode.

    format: "torch", a function `loss(input, target)`; "numpy" or "jax", `loss(logits, labels)`, classes last; "keras",
        a class `Loss` for Keras 3 on any backend. Each takes weight, ignore_index and reduction, and class indices.
        A gated loss remembers: `loss` in torch, like `Loss()` in Keras, is an object with a state, in NumPy and JAX a
        pure function `(logits, labels, state) -> (loss, state)`. "latex": the formula.
    The weight, ignore_index and reduction of the loss itself are not part of it.

    Raises ConfigError for another format, UnsupportedArgumentError for a loss with no formula to be written out, such
    as one of your own, and for label_smoothing.

    >>> from autorobustloss.losses import create_loss
    >>> "jnp.expm1(0.7 * log_p_y) / -0.7" in export_loss(create_loss("gce"), "jax")
    True
    >>> print(export_loss(create_loss("gce"), "latex"))
    \\frac{1 - p_y^{0.7}}{0.7}
    """
    check_format(format)
    if loss._smoothing:
        raise UnsupportedArgumentError(
            f"got {loss}, expected a loss without label_smoothing: what is written out takes class indices"
        )
    if format == "latex":
        return loss.latex() if isinstance(loss, LearnableLoss) else latex_of(loss)
    if isinstance(loss, GatedLoss):
        return _gated(loss, format)
    if isinstance(loss, TaylorLoss):
        return loss.code(format)
    name = name_of(loss)
    body, batchwise = body_of(loss)
    options = ", ".join(f"{key}={value!r:.60}" for key, value in loss.hyperparameters().items())
    about = (inspect.getdoc(type(loss)) or "").split("\n\n")[0]
    formula = "\n".join([f"{name}({options})", about, "", "L = " + latex_of(loss)])
    return module(format, body, title=f"{TITLE}: {name}.", formula=formula, batchwise=batchwise)


def _gated(loss: GatedLoss, format: str) -> str:
    if format == "torch":
        return loss.code()
    body = code(FOLDER / "gated_body.py.j2", gate=loss.gate)
    formula = gated_export.as_text(loss.gate)
    return module(format, body, title=f"{TITLE}.", formula=formula, frame="gated_")
