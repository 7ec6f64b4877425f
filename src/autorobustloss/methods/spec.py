"""A method as a frozen value: a loss, or a training procedure, with its hyper-parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from autorobustloss.errors import ConfigError
from autorobustloss.registry import parse_call

Value = bool | int | float | str | None | tuple[Any, ...]


@dataclass(frozen=True)
class MethodSpec:
    """A method's name and hyper-parameters, hashable and the same in every process.

    >>> MethodSpec.parse("gce(q=0.5)") == MethodSpec.of("gce", q=0.5)
    True
    >>> MethodSpec.parse("nce+mae(alpha=1, beta=10)").label
    'nce+mae(alpha=1, beta=10)'
    """

    name: str
    hyperparameters: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        frozen = sorted((k, _frozen(self.name, k, v)) for k, v in self.hyperparameters)
        object.__setattr__(self, "hyperparameters", tuple(frozen))

    @classmethod
    def of(cls, name: str, **hyperparameters: Any) -> MethodSpec:
        """Build a spec from keyword arguments; lists become tuples, non-finite numbers are refused."""
        return cls(name, tuple(hyperparameters.items()))

    @classmethod
    def parse(cls, text: str) -> MethodSpec:
        """Read `name` or `name(key=value, …)`, values written as Python literals."""
        name, options = parse_call("method", text)
        return cls.of(name, **options)

    @property
    def options(self) -> dict[str, Any]:
        """The hyper-parameters as a dictionary."""
        return dict(self.hyperparameters)

    @property
    def label(self) -> str:
        """The text that `parse` reads back."""
        if not self.hyperparameters:
            return self.name
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.hyperparameters)})"


def _frozen(method: str, key: str, value: Any) -> Value:
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(method, key, v) for v in value)
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ConfigError(f"method {method!r}: got {key}={value!r:.80}, expected finite numbers, text, or lists of them")
