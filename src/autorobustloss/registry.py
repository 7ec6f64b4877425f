"""One registry class for losses, models, data sets, methods and search spaces."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from autorobustloss.errors import ARLError, ConfigError, unknown_name

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Named factories: `register` adds one, `create` calls one with keyword arguments.

    >>> shapes: Registry[str] = Registry("shape")
    >>> @shapes.register("square")
    ... def square(side: int = 1) -> str:
    ...     return f"square of {side}"
    >>> shapes.create("square", side=3)
    'square of 3'
    """

    def __init__(self, kind: str) -> None:
        """`kind` names what is registered, for error messages: "loss", "model", …"""
        self.kind = kind
        self._factories: dict[str, Callable[..., T]] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, *aliases: str) -> Callable[[F], F]:
        """Register the decorated class or function under `name` (and aliases, which `names` leaves out)."""

        def add(factory: F) -> F:
            for key in (name, *aliases):
                if key in self:
                    raise ConfigError(f"{self.kind} {key!r} is registered already")
            self._factories[name] = factory
            self._aliases.update(dict.fromkeys(aliases, name))
            return factory

        return add

    def resolve(self, name: str) -> str:
        """Return the registered name behind a name or alias; raise UnknownNameError for neither."""
        if name in self._factories:
            return name
        if name in self._aliases:
            return self._aliases[name]
        raise unknown_name(self.kind, name, self._factories)

    def get(self, name: str) -> Callable[..., T]:
        """Return the factory registered under `name`."""
        return self._factories[self.resolve(name)]

    def create(self, name: str, /, *args: Any, **kwargs: Any) -> T:
        """Call the factory of `name`; a keyword or value that it does not take is a ConfigError."""
        factory = self.get(name)
        try:
            inspect.signature(factory).bind(*args, **kwargs)
        except TypeError as error:
            takes = ", ".join(self.parameters(name)) or "no parameters"
            raise ConfigError(f"{self.kind} {name!r}: {error}; it takes {takes}") from None
        try:
            return factory(*args, **kwargs)
        except ARLError:
            raise
        except (TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
            if not kwargs:
                raise
            got = ", ".join(f"{key}={value!r:.80}" for key, value in kwargs.items())
            raise ConfigError(f"{self.kind} {name!r}: got {got}, which it cannot take: {error}") from error

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the keyword parameters of a factory with their defaults (`inspect._empty` for none)."""
        signature = inspect.signature(self.get(name))
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {p.name: p.default for p in signature.parameters.values() if p.kind in named}

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._factories)

    def __contains__(self, name: object) -> bool:
        return name in self._factories or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def parse_call(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """Read `name` or `name(key=value, …)`, values written as Python literals; no code is run.

    >>> parse_call("model", "vgg11(width=0.25)")
    ('vgg11', {'width': 0.25})
    """
    name, bracket, rest = text.strip().partition("(")
    name = name.rstrip()
    if not name or ")" in name or len(name.split()) > 1 or (bracket and not rest.endswith(")")):
        raise ConfigError(f"got {kind} {text!r:.200}, expected name or name(key=value, …)")
    try:
        call = ast.parse(f"f({rest.removesuffix(')')})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("brackets do not match")
        keys = [keyword.arg for keyword in call.keywords]
        if call.args or None in keys:
            raise ValueError("hyper-parameters are given by name")
        if len(set(keys)) < len(keys):
            raise ValueError("a hyper-parameter is given twice")
        return name, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deep"
        if reason.startswith("malformed node"):  # Python names its own objects here
            reason = "a malformed value; plain numbers, texts in quotes, True, False, None, and lists of them are taken"
        raise ConfigError(f"got {kind} {text!r:.200}: {reason:.200}; expected name(key=value, …)") from None
