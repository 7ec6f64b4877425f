"""Every grammar and small reader: whatever comes in, a value or an error of this library comes out, soon."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from autorobustloss.cli.config_file import read_flags
from autorobustloss.cli.lists import split_list
from autorobustloss.data import DataName, load_dataset
from autorobustloss.errors import ARLError, CardError, ConfigError, DataError
from autorobustloss.losses.cards.card import Card, load_card
from autorobustloss.losses.cards.shelf import card_paths
from autorobustloss.losses.taylor.scale import check_scale, split_rule
from autorobustloss.methods import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.reading import read_text
from autorobustloss.registry import parse_call
from autorobustloss.runs.job import Job
from autorobustloss.runs.result import Result

LONG = 100_000
GRAMMARS: dict[str, Callable[[str], Any]] = {
    "call": lambda text: parse_call("method", text),
    "method": MethodSpec.parse,
    "methods": split_list,
    "data set": DataName.parse,
    "data": load_dataset,
    "noise": NoiseSpec.parse,
    "scale": check_scale,
    "card": load_card,
    "card text": Card.from_json,
    "result": Result.from_json,
}
PUMPED = [
    "a" + " " * LONG + "b",
    " " * LONG,
    "a " * LONG,
    "[" * LONG,
    "a[" * LONG,
    "a[=" * LONG,
    "a[size=" + "9" * LONG + "]",
    "a(b=" + "(" * LONG,
    "a(" * LONG,
    ")" * LONG,
    "a(b=" + "-" * LONG + "1)",
    "a(b=" + "1+" * LONG + "1)",
    "a(b=" + "[" * 900 + "]" * 900 + ")",
    "a(b='" + "x" * LONG + "')",
    "a(b=" + "9" * LONG + ")",
    "0" * LONG + "x",
    "0" * LONG + "max",
    "1" * LONG + "max",
    "." * LONG,
    "matrix:" + "[" * LONG,
    "matrix:[[" + "1" * 400 + ",0],[0,1]]",
    "matrix:" + "a" * LONG,
    "sym:" + "9" * LONG,
    "sym" + ":" * LONG,
    '{"a":' * LONG,
    '{"a":' + "9" * LONG + "}",
    "~" + "a" * LONG,
    "\0" * LONG,
    "\ud800" * LONG,
]


@pytest.mark.parametrize("read", GRAMMARS.values(), ids=GRAMMARS)
@pytest.mark.parametrize("text", PUMPED, ids=lambda text: ascii(text[:12]))
def test_no_text_takes_long(read: Callable[[str], Any], text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(ARLError):
        read(text)
    assert time.process_time() - start < 2  # what grows with the square takes minutes


PIECES = st.text("ab01.e+-=,:()[]{}'\" \n\\#*", max_size=12) | st.text(max_size=4)
TEXTS = st.builds(
    "".join,
    st.tuples(st.sampled_from(["", "ce", "gce(", "digits[", "sym:", "matrix:[[", "map:0.1:", "{", "init"]), PIECES),
)


@pytest.mark.parametrize("read", GRAMMARS.values(), ids=GRAMMARS)
def test_any_text_is_read_or_refused(read: Callable[[str], Any]) -> None:
    @given(TEXTS)
    @settings(max_examples=150)
    def check(text: str) -> None:
        with contextlib.suppress(ARLError):
            read(text)

    check()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gce(q=0.5)(q=0.7)", "brackets do not match"),
        ("gce(q=0.5)+ce(q=0.7)", "brackets do not match"),
        ("gce(q=0.5, q=0.7)", "twice"),
        ("gce(0.5)", "by name"),
        ("gce(**{'q': 0.5})", "by name"),
        ("gce(q={[]})", "unhashable"),
        ("gce(q=0.5", "expected name"),
        ("gce q=0.5)", "expected name"),
        ("(q=0.5)", "expected name"),
        ("gce(q=__import__('os'))", "malformed"),
    ],
)
def test_method_texts_that_say_two_things(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        MethodSpec.parse(text)


def test_texts_with_space_around() -> None:
    assert parse_call("method", "  gce ( q = 0.5 ,\n) ") == ("gce", {"q": 0.5})
    assert DataName.parse(" photos [ size = 64 , merge=2 ] ") == DataName("photos", (("merge", 2), ("size", 64)))
    assert DataName.parse("a [b]") == DataName("a [b]")
    assert DataName.parse("a[b=1]/c") == DataName("a[b=1]/c")
    assert (split_rule(".5max"), split_rule("1.init"), split_rule("5init")) == ((0.5, "max"), (0.0, ""), (5.0, "init"))
    with pytest.raises(ConfigError, match="size twice"):
        DataName.parse("photos[size=64,size=32]")


ENCODINGS = ["utf-8-sig", "utf-16", "utf-32"]


class TestMatrixFiles:
    ROWS = ((0.9, 0.1), (0.2, 0.8))

    def spec(self, path: Path) -> NoiseSpec:
        return NoiseSpec.parse(f"matrix:{path}")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    @pytest.mark.parametrize("suffix", ["json", "CSV", "txt", "Json"])
    def test_of_any_editor(self, tmp_path: Path, encoding: str, suffix: str) -> None:
        text = "[[0.9,0.1],\r\n[0.2,0.8]]" if suffix.lower() == "json" else "0.9,0.1\r\n\r\n0.2, 0.8\r\n"
        (tmp_path / f"T.{suffix}").write_bytes(text.encode(encoding))
        assert self.spec(tmp_path / f"T.{suffix}").matrix == self.ROWS

    @pytest.mark.parametrize(
        "values", [np.array(ROWS), np.array(ROWS, ">f8"), np.asfortranarray(ROWS), np.array(ROWS).astype(np.longdouble)]
    )
    def test_of_numpy(self, tmp_path: Path, values: np.ndarray) -> None:
        np.save(tmp_path / "T.npy", values)
        assert self.spec(tmp_path / "T.npy").matrix == self.ROWS

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("T.json", b"[" * LONG),
            ("T.json", b"[[NaN,1],[0,1]]"),
            ("T.json", b"[[1e999,0],[0,1]]"),
            ("T.json", b"[[" + b"1" * 400 + b",0],[0,1]]"),
            ("T.json", b"[[" + b"1" * 9000 + b",0],[0,1]]"),
            ("T.json", b'{"a": 1}'),
            ("T.json", b"[[1],[0,1]]"),
            ("T.json", b"[[[[[[[[]]]]]]]]"),
            ("T.json", b"null"),
            ("T.json", b""),
            ("T.csv", b"\xff\xfe\xff"),
            ("T.csv", b"a,b\n0.9,0.1\n0.2,0.8"),
            ("T.csv", b"0,9;0,1\n0,2;0,8"),
            ("T.csv", b"0.9,0.1\n0.2"),
            ("T.csv", b"inf,0\n0,1"),
            ("T.csv", b"\0" * 99),
            ("T.txt", b" " * LONG),
            ("T.npy", b"\x93NUMPY\1\0"),
            ("T.npy", b"no array"),
            ("T.npz", b""),
            ("T", b""),
        ],
    )
    def test_broken_ones_are_named(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises((ConfigError, DataError)) as caught:
            self.spec(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)

    @pytest.mark.parametrize(
        "values",
        [np.array([[None]]), np.array(["a"]), np.eye(2) * 1j, np.zeros((2, 2), np.int8), np.zeros((2, 2), "M8[s]")],
    )
    def test_arrays_that_are_no_matrix(self, tmp_path: Path, values: np.ndarray) -> None:
        np.save(tmp_path / "T.npy", values, allow_pickle=True)
        with pytest.raises((ConfigError, DataError), match=r"T\.npy"):
            self.spec(tmp_path / "T.npy")

    def test_a_giant_header(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)})
        (tmp_path / "T.npy").write_bytes(out.getvalue())
        with pytest.raises(DataError, match=r"T\.npy: cannot be read as a matrix .*claims"):
            self.spec(tmp_path / "T.npy")

    @given(st.sampled_from(["T.json", "T.csv", "T.npy"]), st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_bytes(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises((ConfigError, DataError)) as caught:
            self.spec(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


class TestSettingsFiles:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    def test_of_any_editor(self, tmp_path: Path, encoding: str) -> None:
        (tmp_path / "run.toml").write_bytes('epochs = 3\r\nloss = "gce"\r\n'.encode(encoding))
        assert read_flags(tmp_path / "run.toml") == {"--epochs": "3", "--loss": "gce"}

    @pytest.mark.parametrize(
        "content",
        [
            b"a = " + b"[" * LONG,
            b"a = " + b"{a=" * LONG,
            b"a" + b".a" * 5000 + b" = 1",
            b"a = " + b"9" * 9000,
            b"a = 2026-01-01",
            b"a = 12:00:00",
            b"a = {b = 1}",
            b"a = [[1, [2, {}]]]",
            b"[a]\nb = 1",
            b"a = 1\na = 2",
            "é = 'é'".encode("latin-1"),
            b"a = 1".replace(b" ", b"\0"),
            b"a = 'x" + b"x" * 2**24 + b"'",
        ],
    )
    def test_broken_ones_are_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "run.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"run\.toml") as caught:
            read_flags(tmp_path / "run.toml")
        assert len(str(caught.value)) < 1000

    @pytest.mark.parametrize("name", [".", "none.toml", "\0", "a" * 5000])
    def test_what_is_no_file(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            read_flags(tmp_path / name)

    @given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
    @example(b"")
    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_bytes(self, tmp_path: Path, fine_or_named: Any, content: bytes) -> None:
        (tmp_path / "run.toml").write_bytes(content)
        with fine_or_named(tmp_path / "run.toml"):
            read_flags(tmp_path / "run.toml")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=4)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """Every place in nested lists and dictionaries, by the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, v in inner for place in places(v, (*at, key)))]


def changed(value: Any, place: tuple, new: Any) -> Any:
    if not place:
        return new
    value = copy.deepcopy(value)
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = new
    return value


CARD = json.loads(next(iter(card_paths().values())).read_text(encoding="utf-8"))


class TestCards:
    @given(st.sampled_from(places(CARD)), JSON)
    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_change_is_refused(self, tmp_path: Path, place: tuple, new: Any) -> None:
        text = json.dumps(changed(CARD, place, new))
        if text == json.dumps(CARD):
            return
        path = tmp_path / "card.json"
        path.write_text(text)
        with pytest.raises(CardError) as caught:
            load_card(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 3000

    @pytest.mark.parametrize(
        "content",
        [
            b"[" * LONG,
            b'{"a":' * LONG,
            b"\xff\xfe",
            b"\0",
            b"",
            b"null",
            b"[]",
            b"9" * 9000,
            b'{"schema": "autorobustloss-card/1", "schema": 1}',
            json.dumps(changed(CARD, ("provenance",), {"a": "@"})).replace('"@"', "[" * 5000 + "]" * 5000).encode(),
            json.dumps(changed(CARD, ("provenance",), {"a": "@"})).replace('"@"', "[" * 300 + "]" * 300).encode(),
            json.dumps(changed(CARD, ("log_weight",), "@")).replace('"@"', "1e999").encode(),
            json.dumps(changed(CARD, ("theta", 0), "@")).replace('"@"', "-1e999").encode(),
            json.dumps(changed(CARD, ("canonical", "k"), 10**400)).encode(),
        ],
    )
    def test_hostile_ones_are_named(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "card.json"
        path.write_bytes(content)
        with pytest.raises(CardError, match=r"card\.json: ") as caught:
            load_card(path)
        assert len(str(caught.value)) < 3000

    @pytest.mark.parametrize("name", ["\0", "a/" * 5000, "a" * 5000, ".", "/dev/null", "~nobody-there/x.json"])
    def test_what_is_no_file(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ARLError):
            load_card(name)
        with pytest.raises(ARLError):
            load_card(tmp_path / name)


RESULT = json.loads(
    '{"key": "k", "history": {"epochs": [1, 2], "valid_clean": [0.5, 0.6], "valid_noisy": [], "test": [0.1, 0.2],'
    ' "train_loss": [2.0, 1.5], "train_accuracy": [0.2, 0.4], "stopped": "", "steps": 20}, "noise_rate": 0.4,'
    ' "wall_time": 2.5, "device": "cpu", "host": "here", "versions": {"torch": "2.4"}, "peak_memory": 7}'
)
JOB = json.loads(
    '{"task": {"dataset": {"name": "digits", "train_size": 9}, "noise": "sym:0.4", "model": "mlp2", "protocol":'
    ' {"epochs": 3, "milestones": [1], "gamma": 0.1, "lookahead": [], "lr": 0.1}}, "method": {"name": "gce",'
    ' "hyperparameters": [["q", 0.5]]}, "seed": 3, "evaluate": ["test"]}'
)


@given(st.sampled_from(places(RESULT)), JSON)
@settings(max_examples=300)
def test_any_result_is_read_or_refused(place: tuple, new: Any) -> None:
    try:
        result = Result.from_json(json.dumps(changed(RESULT, place, new)))
    except ConfigError:
        return
    assert Result.from_json(result.to_json()) == result


@given(st.sampled_from(places(JOB)), JSON)
@settings(max_examples=300)
def test_any_job_is_read_or_refused(place: tuple, new: Any) -> None:
    with contextlib.suppress(ConfigError):
        assert len(Job.from_dict(changed(JOB, place, new)).key) == 64


@given(st.binary(max_size=50) | st.text(max_size=20).map(str.encode), st.sampled_from(ENCODINGS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_texts_come_back(tmp_path: Path, fine_or_named: Any, content: bytes, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with fine_or_named(path):
        text = read_text(path, "try")
        assert "\0" not in text
        path.write_bytes(text.encode(encoding))
        assert read_text(path, "try") == text
