"""Take a learned loss apart: cards of its variants, each with one part left out.

    python searches/ablate.py arl --out runs/ablation
    arl bench --config docs/evidence/ablation.toml --data-dir DIR

A Taylor loss is known by two slopes: d₁(ŷ) of the labelled class and d₀(ŷ) of the others (see `CanonicalForm`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from autorobustloss.losses.canonical import CanonicalForm
from autorobustloss.zoo import Card, load_card


def variants(form: CanonicalForm) -> dict[str, CanonicalForm]:
    """Return the loss without its log term, with no say of the other classes, and as MAE with the log term alone."""
    flat = tuple(0.0 for _ in form.b)
    slope = (form.a[0], *(0.0 for _ in form.a[1:]))
    return {
        "no-log": replace(form, log_weight=0.0),
        "label-only": replace(form, b=flat, k=0.0),
        "mae-and-log": replace(form, a=slope, b=flat, k=0.0),
        "mae-alone": replace(form, a=slope, b=flat, k=0.0, log_weight=0.0),
    }


def main() -> None:
    """Write the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loss", help="a learned loss, or the path of its card")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR")
    options = parser.parse_args()
    whole = load_card(options.loss)
    for name, form in variants(whole.canonical()).items():
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        card = Card(name, form.theta(), form.log_weight, whole.scale, {"ablation_of": whole.name})
        card.save(folder / "loss.json")
        print(folder / "loss.json")


if __name__ == "__main__":
    main()
