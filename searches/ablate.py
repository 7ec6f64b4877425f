"""Take a learned loss apart: cards of its variants, each with one part changed, or at another scale.

    python searches/ablate.py arl-taylor --out runs/variants
    arl bench --config docs/evidence/ablation.toml --data-dir DIR    # what each part is worth
    arl bench --config docs/evidence/scale.toml --data-dir DIR       # which scale rule serves 3 to 100 classes

The variants without a part, "harsh" (the power of the log term taken away, so that it pulls at confident mistakes as
cross-entropy does) and "soft" or "certain" (least where the label has 0.9, or certainty) test the two conjectures of
the paper, section 4.2.

A Taylor loss is known by two slopes: d₁(ŷ) of the labelled class and d₀(ŷ) of the others (see `CanonicalForm`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.analysis import soft_targets
from autorobustloss.losses.cards import Card, load_card
from autorobustloss.losses.taylor.form import CanonicalForm

SCALES = ("0.2max", "0.4max", "0.6max", "0.8max", "0.35geometric", "0.5geometric", "geometric", "init")
CLASSES = 10
"""At so many classes a variant is soft or certain."""


def variants(form: CanonicalForm) -> dict[str, CanonicalForm]:
    """Return the loss with one part changed, for each part that it has."""
    nothing = CanonicalForm(tuple(0.0 for _ in form.a), tuple(0.0 for _ in form.b), 0.0)
    found = {"label-only": replace(form, b=nothing.b, k=0.0), "soft": content_at(form, 0.9)}
    if form.log_weight:
        found["no-polynomial"] = replace(nothing, log_weight=form.log_weight, log_power=form.log_power)
    if form.log_power:
        found["harsh"] = replace(form, log_power=0.0)
    if soft_targets(TaylorLoss(form.theta(), form.log_weight, log_power=form.log_power), CLASSES)[0] < 1:
        found["certain"] = content_at(form, 1.0)
    return found


def content_at(form: CanonicalForm, target: float) -> CanonicalForm:
    """Return the loss with the highest power of its label's slope changed, so that it is least at this probability.

    The slope along the line on which the other classes share the rest is d₁(t) − d₀((1 − t)/(C − 1)); what is added
    makes it zero at `target`, or for certainty nowhere above zero.
    """
    power = len(form.a) - 1
    t = np.linspace(1 / CLASSES, 1, 1001) if target == 1 else np.array([target])
    slope = form.d1(t) - form.d0((1 - t) / (CLASSES - 1))
    return replace(form, a=(*form.a[:-1], form.a[-1] - float((slope / t**power).max())))


def main() -> None:
    """Write the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loss", help="a learned loss, or the path of its card")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"), metavar="DIR")
    options = parser.parse_args()
    whole = load_card(options.loss)
    assert isinstance(whole, Card), f"{options.loss} is no Taylor loss"
    form = whole.canonical()
    cards = {name: (part, whole.scale) for name, part in variants(form).items()}
    cards |= {f"scale-{scale}": (form, scale) for scale in SCALES}
    for variant, (part, scale) in cards.items():
        name = f"{whole.name}-{variant}"
        numbers = part.theta(), part.log_weight, part.log_power, scale
        card = Card(name, *numbers, provenance={"variant_of": whole.name})
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        card.save(folder / "loss.json")
        print(folder / "loss.json")


if __name__ == "__main__":
    main()
