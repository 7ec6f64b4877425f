"""Methods that go by two names and train alike: a comparison counts them once."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import ARLError
from autorobustloss.methods.criterion import create_criterion, penalty_of
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS

CLASSES = (10, 26)
"""Losses are compared at these numbers of classes."""


def firsts_alike(methods: Iterable[MethodSpec]) -> dict[MethodSpec, MethodSpec]:
    """Return for each method the first that trains as it does, often itself.

    Two losses train alike where their gradients are equal, to rounding, as those of `gce` and `gce_truncated` are: the
    latter takes a constant off. Procedures are compared by name and hyper-parameters only.

    >>> gce, truncated, ce = (MethodSpec.of(name) for name in ("gce", "gce_truncated", "ce"))
    >>> firsts_alike([gce, truncated, ce])[truncated].name
    'gce'
    """
    found: dict[MethodSpec, MethodSpec] = {}
    for method in dict.fromkeys(methods):
        found[method] = next((first for first in dict.fromkeys(found.values()) if _alike(first, method)), method)
    return found


def _alike(a: MethodSpec, b: MethodSpec) -> bool:
    pairs = list(zip(_gradients(a), _gradients(b)))
    return bool(pairs) and all(torch.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in pairs)


@functools.lru_cache(maxsize=1000)
def _gradients(method: MethodSpec) -> tuple[Tensor, ...]:
    """Return a loss's penalty, and its gradients at random logits; nothing for a procedure, or a loss without them.

    First at any, then where nearly all labels are agreed with: a loss that remembers the one may change by the other.
    """
    if method.name in METHODS:
        return ()
    found = [torch.tensor(penalty_of(method), dtype=torch.float64)]
    for classes in CLASSES:
        generator = torch.Generator().manual_seed(classes)
        logits = 3 * torch.randn(32, classes, generator=generator, dtype=torch.float64)
        labels = torch.randint(classes, (32,), generator=generator)
        agreeing = logits + 9 * F.one_hot(labels, classes)
        try:
            criterion = create_criterion(method, classes)
            for z, y in ((logits, labels), (agreeing.repeat(10, 1), labels.repeat(10))):
                z.requires_grad_()
                found.append(torch.autograd.grad(criterion(z, y), z)[0])
        except ARLError:
            return ()
    return tuple(found)
