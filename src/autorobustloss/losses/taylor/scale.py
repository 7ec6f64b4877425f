"""Scale rules: the factor a Taylor loss is multiplied by, so that losses are compared at equal pace.

The rule is this library's own; the paper's (Appendix A.3) is not in its published text. At uniform predictions the
gradient of every class-wise separable loss in the logits is (d₀(1/C) − d₁(1/C))/C² · (1/C − onehot): cross-entropy's,
up to the factor that "init" takes out.
"""

from __future__ import annotations

import math
import re
import sys

import numpy as np

from autorobustloss.errors import ConfigError
from autorobustloss.losses.taylor.form import CanonicalForm

SCALE_RULES = ("init", "max", "geometric")
SMALLEST = 1e-300
"""A gradient below it has no inverse to speak of: the factor would be beyond the range of a float."""

Scale = str | float | None


def split_rule(scale: str) -> tuple[float, str]:
    """Return the factor and the rule of a text such as "max" or "0.3max"; (0, "") for anything else.

    >>> split_rule("max"), split_rule("0.3max")
    ((1.0, 'max'), (0.3, 'max'))
    """
    found = re.fullmatch(rf"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)?({'|'.join(SCALE_RULES)})", scale)
    return (float(found[1] or 1), found[2]) if found else (0.0, "")


def check_scale(scale: Scale) -> Scale:
    """Return a scale rule or factor as it is; raise ConfigError for anything else."""
    if scale is None or (isinstance(scale, str) and 0 < split_rule(scale)[0] < math.inf):
        return scale
    if isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale <= sys.float_info.max:
        return float(scale)
    raise ConfigError(
        f"got scale={scale!r:.80}, expected None, one of {', '.join(SCALE_RULES)}, a multiple "
        "of one such as '0.3max', or a positive number"
    )


def scale_factor(scale: Scale, form: CanonicalForm, num_classes: int) -> float:
    """Return the factor of a loss with this canonical form for C classes.

    None: 1. A number: that number.
    "init": C²/(d₀(1/C) − d₁(1/C)); training starts with the gradient of cross-entropy.
    "max": the inverse of `max_gradient`; no labelled logit is pulled harder than 1 on the way to certainty.
    "geometric": the geometric mean of the two.
    "0.3max", …: so many times what the rule gives.

    Raises ConfigError for a rule and a loss that does not pull towards the label at uniform predictions of C classes,
    and so would learn to avoid it. A loss may pull at ten classes and not at two.

    >>> mae = CanonicalForm(a=(-1.0,), b=(), k=0.0)
    >>> [scale_factor(rule, mae, 10) for rule in (None, "init", "max")]
    [1.0, 100.0, 40.0]
    """
    if not isinstance(scale, str):
        return 1.0 if scale is None else scale
    multiple, rule = split_rule(scale)
    problem = f"it does not pull towards the label at uniform predictions of {num_classes} classes"
    bracket = _positive(form.bracket(num_classes), scale, problem)
    factors = []
    if rule in ("init", "geometric"):
        factors.append(num_classes**2 / bracket)
    if rule in ("max", "geometric"):
        factors.append(1 / _positive(max_gradient(form, num_classes), scale, "it has no gradient"))
    # Roots first: the product of two factors can exceed the range of a float where their mean does not.
    return multiple * (math.sqrt(factors[0]) * math.sqrt(factors[1]) if rule == "geometric" else factors[0])


def max_gradient(form: CanonicalForm, num_classes: int) -> float:
    """Return the largest |∂L/∂z_label| from uniform to certain predictions, before scaling.

    With t the probability of the label and (1−t)/(C−1) that of every other class,
    ∂L/∂z_label = t(1−t)/C · (d₁(t) − d₀((1−t)/(C−1))), for t from 1/C to 1.
    """
    low, high = 1 / num_classes, 1.0
    for _ in range(3):  # a grid, then finer ones around its best point: the maximum to machine precision
        t = np.linspace(low, high, 1001)
        pull = np.abs(t * (1 - t) * (form.d1(t) - form.d0((1 - t) / (num_classes - 1)))) / num_classes
        best = int(np.argmax(pull))
        low, high = t[max(best - 1, 0)], t[min(best + 1, 1000)]
    return float(pull[best])


def _positive(value: float, rule: str, problem: str) -> float:
    if SMALLEST <= value <= sys.float_info.max:
        return value
    raise ConfigError(f"this loss has no scale {rule!r}: {problem}; try scale=None, a positive number, or another loss")
