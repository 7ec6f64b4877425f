"""The parameters of classes and functions as their files write them: nothing is imported to list them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

Definition: TypeAlias = ast.ClassDef | ast.FunctionDef


def definitions(folder: Path) -> dict[str, Definition]:
    """Return what the files of a folder define, by name."""
    bodies = [ast.parse(file.read_text(encoding="utf-8")).body for file in folder.rglob("*.py")]
    return {node.name: node for body in bodies for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


def parameters(node: Definition, known: Mapping[str, Definition]) -> dict[str, Any]:
    """Return parameters with their defaults, None for none.

    Those of a class are those of its `__init__`, or its fields (`q: float = number(default=0.7)`), after those of its
    bases as far as they are `known`.
    """
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(named) - len(arguments.defaults)) + arguments.defaults + arguments.kw_defaults
        pairs = zip([*named, *arguments.kwonlyargs], defaults)
        return {argument.arg: _value(default) for argument, default in pairs if argument.arg != "self"}
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__" and part.args.vararg is None:
            return parameters(part, known)
    found: dict[str, Any] = {}
    for base in reversed(node.bases):
        found |= parameters(known[base.id], known) if isinstance(base, ast.Name) and base.id in known else {}
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.value, ast.Call):
            given = {keyword.arg: keyword.value for keyword in field.value.keywords}
            if "default" in given:
                found[ast.unparse(field.target)] = _value(given["default"])
    return found


def _value(node: ast.expr | None) -> Any:
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except ValueError:  # the name of a constant
        return ast.unparse(node)
