"""Scale rules: by what factor a Taylor loss is multiplied, so that losses are compared at equal pace."""

from __future__ import annotations

import math
import sys
from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial

from autorobustloss.errors import ConfigError
from autorobustloss.losses.canonical import CanonicalForm

SCALE_RULES = ("init", "max", "geometric")

Scale = str | float | None


def check_scale(scale: Scale) -> Scale:
    """Return a scale rule or factor as it is; raise ConfigError for anything else."""
    if scale is None or (isinstance(scale, str) and scale in SCALE_RULES):
        return scale
    if isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale <= sys.float_info.max:
        return float(scale)
    raise ConfigError(f"got scale={scale!r}, expected None, one of {', '.join(SCALE_RULES)}, or a positive number")


@lru_cache(maxsize=4096)
def scale_factor(scale: Scale, form: CanonicalForm, num_classes: int) -> float:
    """Return the factor of a loss with this canonical form for C classes."""
    if scale is None:
        return 1.0
    if not isinstance(scale, str):
        return scale
    if scale == "max":
        return 1 / _positive(max_gradient(form, num_classes), "has no gradient", form)
    bracket = _positive(form.bracket(num_classes), f"pushes away from the label at the start (C = {num_classes})", form)
    init = num_classes**2 / bracket
    return init if scale == "init" else math.sqrt(init / max_gradient(form, num_classes))


def max_gradient(form: CanonicalForm, num_classes: int) -> float:
    """Return the largest |∂L/∂z_label| on the path from uniform to certain predictions."""
    others = num_classes - 1
    t = Polynomial([0.0, 1.0])
    s = Polynomial([1 / others, -1 / others])
    d1 = Polynomial([*form.a, form.k])
    d0 = Polynomial([0.0, *form.b, form.k])
    pull = (1 - t) * (t * d1 - form.log_weight - t * d0(s)) / num_classes
    roots = pull.deriv().roots()
    real = roots[np.abs(roots.imag) < 1e-6].real
    points = np.concatenate([[1 / num_classes, 1.0], real[(real > 1 / num_classes) & (real < 1)]])
    return float(np.abs(pull(points)).max())


def _positive(value: float, problem: str, form: CanonicalForm) -> float:
    if value > 0:
        return value
    raise ConfigError(f"this loss cannot be scaled: it {problem}; got {form}; try scale=None, or another candidate")
