"""Short jobs travel in groups, so that what a message costs is small beside the training in it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from autorobustloss.runs.cohort import Unit

Group: TypeAlias = tuple[Unit, ...]

ENOUGH = 0.25
"""Seconds of training in a message; one costs about a millisecond."""


def take(pending: deque[Unit], seconds: Callable[[Unit], float], places: int) -> Group:
    """Take the next group off the front of what is pending: units of together `ENOUGH` seconds, or a little more.

    seconds: how long a unit will probably take; one of which nothing is known (infinity) goes alone. places: how many
    groups run at once. A group is at most the share that leaves each of them two more, so that all end at one time.

    >>> pending = deque((unit,) for unit in "aabbbb")
    >>> [len(take(pending, {("a",): 0.2, ("b",): 0.1}.__getitem__, places=1)) for _ in range(3)]
    [2, 1, 1]
    """
    most, group, total = max(1, len(pending) // (3 * places)), list[Unit](), 0.0
    while pending and len(group) < most and total < ENOUGH:
        if group and seconds(pending[0]) == math.inf:
            break
        group.append(pending.popleft())
        total += seconds(group[-1])
    return tuple(group)
