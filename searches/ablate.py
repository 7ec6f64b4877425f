"""Take a learned loss apart: cards of its variants, each with one part left out, or at another scale.

    python searches/ablate.py arl --out runs/variants
    arl bench --config docs/evidence/ablation.toml --data-dir DIR    # what each part is worth
    arl bench --config docs/evidence/scale.toml --data-dir DIR       # which scale rule serves 3 to 100 classes

A Taylor loss is known by two slopes: d₁(ŷ) of the labelled class and d₀(ŷ) of the others (see `CanonicalForm`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from autorobustloss.losses.canonical import CanonicalForm
from autorobustloss.zoo import Card, load_card

SCALES = ("0.2max", "0.4max", "0.8max", "init", "geometric")


def parts_left_out(form: CanonicalForm) -> dict[str, CanonicalForm]:
    """Return the loss without its log term, without its polynomial, and with no say of the classes not labelled."""
    nothing = CanonicalForm(tuple(0.0 for _ in form.a), tuple(0.0 for _ in form.b), 0.0)
    return {
        "no-log-term": replace(form, log_weight=0.0, log_power=0.0),
        "no-polynomial": replace(nothing, log_weight=form.log_weight, log_power=form.log_power),
        "label-only": replace(form, b=nothing.b, k=0.0),
    }


def main() -> None:
    """Write the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loss", help="a learned loss, or the path of its card")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"), metavar="DIR")
    options = parser.parse_args()
    whole = load_card(options.loss)
    form = whole.canonical()
    cards = {name: (part, whole.scale) for name, part in parts_left_out(form).items()}
    cards |= {f"scale-{scale}": (form, scale) for scale in SCALES}
    for name, (part, scale) in cards.items():
        card = Card(name, part.theta(), part.log_weight, scale, {"variant_of": whole.name}, log_power=part.log_power)
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        card.save(folder / "loss.json")
        print(folder / "loss.json")


if __name__ == "__main__":
    main()
