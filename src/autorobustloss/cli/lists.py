"""Values joined by commas."""

from __future__ import annotations

from autorobustloss.errors import ConfigError


def split_list(text: str) -> list[str]:
    """Split at the commas that are outside brackets.

    >>> split_list("ce, sce(alpha=0.1, beta=1)")
    ['ce', 'sce(alpha=0.1, beta=1)']
    """
    cuts, depth = [-1], 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            cuts.append(position)
    parts = [text[start + 1 : end].strip() for start, end in zip(cuts, [*cuts[1:], len(text)])]
    return [part for part in parts if part]


def listed(text: str | None, flag: str, default: str = "") -> list[str]:
    """Return what a flag, or where it is left out its default, lists (see `split_list`), at least one part."""
    parts = split_list(default if text is None else text)
    if not parts:
        raise ConfigError(f"got {flag} {text!r}, expected at least one; leave {flag} out for its default")
    return parts


def split_learning_rates(text: str, sweep: bool) -> tuple[list[float], tuple[float, ...]]:
    """Split the value of --lr into learning rates and, of a sweep, factors.

    >>> split_learning_rates("0.01,0.03", False), split_learning_rates("0.1x,1x,3x", True)
    (([0.01, 0.03], ()), ([], (0.1, 1.0, 3.0)))
    """
    parts = listed(text, "--lr")
    factors = [part for part in parts if sweep and part.endswith("x")]
    try:
        rates = [float(part) for part in parts if part not in factors]
        return rates, tuple(float(part.removesuffix("x")) for part in factors)
    except ValueError:
        wanted = "numbers joined by commas, such as 0.01,0.03 (arl bench also takes factors, such as 0.3x,1x,3x)"
        raise ConfigError(f"got --lr {text!r}, expected {wanted}") from None
