"""`--json`: what every command prints is what `arl schema` and docs/json.md say."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from autorobustloss.cli.app import COMMANDS
from autorobustloss.cli.json_output import print_json
from autorobustloss.cli.main import main
from autorobustloss.cli.outcomes import OUTCOMES, schema
from autorobustloss.errors import UnknownNameError

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
TINY = ["--models=linear", "--epochs=2", "--train-size=200", "--valid-size=100", "--workers=1", "--quiet"]
SEARCH = ["--generations=2", "--population=4", "--finalists-seeds=1", "--compare=ce", "--compare-seeds=1"]
CALLS = [
    *(("list", ["list", kind]) for kind in ("losses", "methods", "models", "noises", "datasets", "protocols")),
    ("losses list", ["losses", "list"]),
    ("losses show", ["losses", "show", "arl"]),
    ("losses show", ["losses", "show", "ce,nfl,gated"]),
    ("train", ["train", "--loss=ce,jocor", *TINY]),
    ("train", ["train", "--lr=1e9", *TINY]),  # which diverges
    ("bench", ["bench", "--methods=ce,gce", "--noise=clean", "--seeds=2", "--match-scale", *TINY]),
    ("bench TABLE", ["bench", "table1", "--data-dir=.", "--workers=1", "--quiet"]),  # whose data are absent
    ("search", ["search", *TINY, *SEARCH]),
    ("search", ["search", "--space=gated", *TINY, *SEARCH[:3], "--compare-seeds=0"]),
    ("labels", ["labels", "--noise=sym:0.2", "--folds=2", "--loss=ce", "--epochs=30", TINY[0], *TINY[4:]]),
]


def strict(text: str) -> Any:
    """Return what JSON says, which has no NaN and no infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(("command", "words"), CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_printed_is_what_the_schema_says(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == "" or command == "bench TABLE"
    assert out.isascii()
    assert out.count("\n") == 1
    found = strict(out)
    check = Draft202012Validator(schema(command))
    check.validate(found)
    for where in emptied(found):
        with pytest.raises(ValidationError):
            check.validate(where)


def emptied(found: Any) -> list[Any]:
    """Return copies of an outcome that each lack something of its first object."""
    first = found[0] if isinstance(found, list) else found
    if not isinstance(first, dict) or "published" in first:
        return []
    copies = []
    for key in {"name", "loss", "job", "folder", "wrong", "methods"} & first.keys():
        copies.append(copy.deepcopy(found))
        del (copies[-1][0] if isinstance(found, list) else copies[-1])[key]
    assert copies
    return copies


@pytest.mark.parametrize("command", OUTCOMES)
def test_schemas_are_schemas_and_printed(command, capsys):
    Draft202012Validator.check_schema(schema(command))
    assert main(["schema", *command.split()]) == 0
    assert strict(capsys.readouterr().out) == schema(command)
    assert command.split()[0] in COMMANDS


def test_all_schemas_are_printed_at_once(capsys):
    assert main(["schema"]) == 0
    assert strict(capsys.readouterr().out) == {command: schema(command) for command in OUTCOMES}
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        schema("trian")


def test_numbers_that_are_none_are_null(capsys):
    values = {"a": float("nan"), "b": [np.float32("inf"), np.int64(3)], "c": np.array([1.5, np.nan]), "é\udcff": ("x",)}
    print_json(values)
    out = capsys.readouterr().out
    assert strict(out) == {"a": None, "b": [None, 3], "c": [1.5, None], "é\udcff": ["x"]}


def types_of(kind: Any) -> list[Any]:
    """Return the dataclasses of this command line that a type is made of."""
    found = [t for argument in get_args(kind) for t in types_of(argument)]
    if is_dataclass(kind):
        found += [
            kind,
            *(t for f in msgspec.inspect.type_info(kind).fields for t in types_of(getattr(f.type, "cls", 0))),
        ]
    return found


@pytest.mark.parametrize("command", OUTCOMES)
def test_the_page_names_every_command_and_its_fields(command):
    text = PAGE.read_text(encoding="utf-8")
    _, kind = OUTCOMES[command]
    assert f"`arl {command}`" in text
    section = text.partition(f"`arl {command}`")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    for each in types_of(kind):
        if each.__module__.startswith("autorobustloss.cli"):
            assert {f.name for f in fields(each)} <= named
