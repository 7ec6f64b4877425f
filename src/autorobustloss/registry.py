"""What can be named: losses, methods, networks, data sets; and how a name with hyper-parameters is read.

A name is known before its file is imported: `Registry` finds `@LOSSES.register("name")` in the files of a folder. So a
new loss, method, network or data set is one file, and listing names costs no import of PyTorch.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from autorobustloss.errors import ARLError, ConfigError, unknown_name
from autorobustloss.signatures import definitions, parameters

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

PACKAGE = Path(__file__).parent
ABOUT_CARDS = "Learned loss: its formula and how it was found are in its card."


class Place(NamedTuple):
    """Where a name is registered: module, other names for the same, first line of the docstring, what it is there."""

    module: str
    aliases: tuple[str, ...] = ()
    about: str = ""
    defined: str = ""


class Registry(Generic[T]):
    """Named factories: `register` adds one, `create` calls one with keyword arguments.

    >>> shapes: Registry[str] = Registry("shape")
    >>> @shapes.register("square")
    ... def square(side: int = 1) -> str:
    ...     return f"square of {side}"
    >>> shapes.create("square", side=3)
    'square of 3'
    """

    def __init__(self, kind: str, variable: str = "", folder: str = "", cards: str = "") -> None:
        """`kind` names what is registered, for error messages: "loss", "model", …

        variable, folder: what the registry is called in the files of a folder of this package, where its names are
            found without an import; "" for a registry that knows only what was registered so far.
        cards: the module that registers the JSON files of the folder, by their stems.
        """
        self.kind = kind
        self._variable, self._folder, self._cards = variable, folder, cards
        self._factories: dict[str, Callable[..., T]] = {}

    @cached_property
    def _places(self) -> dict[str, Place]:
        """Return where the names are that files of the folder register."""
        if not self._folder:
            return {}
        folder = PACKAGE / self._folder
        cards = {file.stem: Place(self._cards, about=ABOUT_CARDS) for file in folder.rglob("*.json") if self._cards}
        return cards | {n: p for file in sorted(folder.rglob("*.py")) for n, p in places(file, self._variable).items()}

    def register(self, name: str, *aliases: str) -> Callable[[F], F]:
        """Register the decorated class or function under `name` (and aliases, which `names` leaves out)."""

        def add(factory: F) -> F:
            place = self._places.get(name)
            if name in self._factories or place is None or place.module != factory.__module__:
                for key in (name, *aliases):
                    if key in self:
                        raise ConfigError(f"{self.kind} {key!r} is registered already")
                about = (inspect.getdoc(factory) or "").split("\n")[0]
                self._places[name] = Place(factory.__module__, aliases, about)
            self._factories[name] = factory
            return factory

        return add

    def _known(self) -> dict[str, str]:
        """Return every name and alias with the name that it stands for."""
        aliases = {alias: name for name, place in self._places.items() for alias in place.aliases}
        return {name: name for name in (*self._factories, *self._places)} | aliases

    def resolve(self, name: str) -> str:
        """Return the registered name behind a name or alias; raise UnknownNameError for neither."""
        known = self._known()
        if name not in known:
            raise unknown_name(self.kind, name, self.names())
        return known[name]

    def get(self, name: str) -> Callable[..., T]:
        """Return the factory registered under `name`."""
        name = self.resolve(name)
        if name not in self._factories:
            import_module(self._places[name].module)
        return self._factories[name]

    def about(self, name: str) -> str:
        """Return the first line of the docstring of what is registered under `name`."""
        return self._places[self.resolve(name)].about

    def aliases(self, name: str) -> tuple[str, ...]:
        """Return the other names of what is registered under `name`."""
        return self._places[self.resolve(name)].aliases

    def written(self) -> dict[str, dict[str, Any]]:
        """Return the parameters of every name and their defaults as the files have them: nothing is imported.

        A default is None where there is none, and its text where it is no literal.
        """
        known = definitions(PACKAGE / self._folder)
        return {n: parameters(known[p.defined], known) if p.defined else {} for n, p in sorted(self._places.items())}

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
        return sorted(set(self._known().values()))

    def __contains__(self, name: object) -> bool:
        return name in self._known()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def places(file: Path, variable: str) -> dict[str, Place]:
    """Return what a file of this package registers with `@variable.register("name", "alias", …)`."""
    module = ".".join((PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    found: dict[str, Place] = {}
    text = file.read_text(encoding="utf-8")
    for node in ast.parse(text).body if f"@{variable}.register(" in text else ():  # parsing takes a millisecond
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == f"{variable}.register":
                name, *aliases = (ast.literal_eval(argument) for argument in call.args)
                about = (ast.get_docstring(node) or "").split("\n")[0]  # type: ignore[arg-type]  # it has decorators
                found[name] = Place(module, tuple(aliases), about, node.name)  # type: ignore[attr-defined]
    return found


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


LOSSES: Registry[Any] = Registry("loss", "LOSSES", "losses", cards=f"{PACKAGE.name}.losses.cards.card")
METHODS: Registry[Any] = Registry("method", "METHODS", "methods")
"""Factories that take a procedure's hyper-parameters; a name that is not here is that of a loss."""
MODELS: Registry[Any] = Registry("model", "MODELS", "models")
DATASETS: Registry[Any] = Registry("data set", "DATASETS", "data")
"""Loaders that take (name, data_dir, download) and return a `Dataset`."""
