"""The card of a searched loss: the loss and how it was found."""

from __future__ import annotations

import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from autorobustloss.escape import clipped, visible
from autorobustloss.losses.cards import LossCard
from autorobustloss.runs.machine import library_versions
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.search import SearchOutcome


def card_name(folder: Path) -> str:
    """Return what a loss is called after the run folder of its search, whatever the folder is called.

    >>> card_name(Path("runs/mnist")), card_name(Path("/"))
    ('mnist', 'learned')
    """
    return clipped(visible(folder.resolve().name), 100) or "learned"


def make_card(config: SearchConfig, outcome: SearchOutcome, name: str) -> LossCard:
    """Return the card of the winner, with what is needed to find it again.

    Processor, BLAS and exactness are those of the trainings, hardware and versions those of who wrote the card.
    """
    winner = outcome.winner
    provenance: dict[str, Any] = {
        "search": config.to_dict(),
        "generations": [g.to_dict() for g in outcome.generations],
        "origin": winner.origin,
        "fitness": winner.accuracy,
        "finalists": {f.origin: f.accuracy for f in outcome.finalists},
        "date": datetime.now(timezone.utc).date().isoformat(),
        "processor": "; ".join(outcome.origin.processor) or "unknown",
        "blas": "; ".join(outcome.origin.blas) or "unknown",
        "exact": outcome.origin.exact,
        "hardware": f"{platform.machine()} {platform.system()}",
        "versions": library_versions(),
    }
    return LossCard.from_loss(outcome.loss, name=name, provenance=provenance)
