"""Noise as text: one canonical form, exact round trips, errors that help."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError, DataError, UnknownNameError
from autorobustloss.noise import NOISES, NoiseSpec, create_noise, list_noises, transition_matrix

rates = st.floats(0, 1, allow_nan=False)


@st.composite
def matrices(draw: st.DrawFn) -> list[list[float]]:
    classes = draw(st.integers(2, 6))
    cells = st.floats(0, 1, allow_subnormal=False)
    rows = draw(st.lists(st.lists(cells, min_size=classes, max_size=classes), min_size=classes, max_size=classes))
    return [list((np.array(row) + 1e-3) / (np.array(row) + 1e-3).sum()) for row in rows]


@st.composite
def specs(draw: st.DrawFn) -> NoiseSpec:
    kind = draw(st.sampled_from(list_noises()))
    if kind == "matrix":
        return create_noise("matrix", matrix=draw(matrices()))
    if kind == "human":
        return create_noise("human", labels=draw(st.sampled_from(["aggre", "random1", "worse", "noisy"])))
    if kind == "map":
        return create_noise("map", rate=draw(rates), legacy=draw(st.booleans()))
    if kind in ("clean", "given"):
        return create_noise(kind)
    return create_noise(kind, rate=draw(rates))


@settings(deadline=None)
@given(specs())
def test_parse_reads_back_the_text(spec: NoiseSpec) -> None:
    assert NoiseSpec.parse(str(spec)) == spec
    assert str(NoiseSpec.parse(str(spec))) == str(spec)
    assert NoiseSpec.parse(spec) is spec
    assert hash(NoiseSpec.parse(str(spec))) == hash(spec)


def example(kind: str) -> NoiseSpec:
    """A spec of each kind; a new one that takes more than a rate needs its arguments here."""
    arguments = {"matrix": [[[0.9, 0.1], [0.2, 0.8]]], "human": ["worse"], "clean": [], "given": []}
    return create_noise(kind, *arguments.get(kind, [0.4]))


@pytest.mark.parametrize("kind", list(NOISES))
def test_every_kind_has_a_text_of_its_own_name(kind: str) -> None:
    spec = example(kind)
    assert spec.kind == kind
    assert str(spec).partition(":")[0] == kind
    assert len(spec.label) < 30
    assert NOISES.about(kind).endswith(".")


@pytest.mark.parametrize("kind", list(NOISES))
def test_every_kind_has_a_matrix_or_labels_or_a_draw(kind: str) -> None:
    spec, classes = example(kind), 2 if kind == "matrix" else 10
    if spec.by_class:
        T = transition_matrix(spec, classes, "mnist")
        assert T.shape == (classes, classes)
        torch.testing.assert_close(T.sum(1), torch.ones(classes, dtype=torch.float64))
    elif not spec.labels:
        labels = torch.arange(200) % classes
        noisy = spec.draw(torch.randn(200, 4), labels, classes, torch.Generator().manual_seed(0))
        assert noisy.shape == labels.shape
        assert 0.2 < (noisy != labels).double().mean() < 0.6
        assert set(noisy.tolist()) <= set(range(classes))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("sym:0.80", "sym:0.8"),
        (" sym:8e-1 ", "sym:0.8"),
        ("symmetric:0.8", "sym:0.8"),
        ("pairflip:.4", "pair:0.4"),
        ("map:0.4:legacy", "map:0.4:legacy"),
        ("sym:0", "clean"),
        ("map:0:legacy", "clean"),
        ("none", "clean"),
        ("matrix:[[1, 0], [0.5, 0.5]]", "matrix:[[1.0,0.0],[0.5,0.5]]"),
    ],
)
def test_one_noise_has_one_text(text: str, canonical: str) -> None:
    assert str(NoiseSpec.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sym:1.2", r"\[0, 1\]"),
        ("sym:80", "80 % is 0.8"),
        ("sym:-0.1", r"\[0, 1\]"),
        ("sym:nan", r"\[0, 1\]"),
        ("sym:much", "'much'"),
        ("sym", "rate"),
        ("sym:0.4:0.5", "too many"),
        ("clean:0.4", "no parameters"),
        ("map:0.4:old", "map:RATE:legacy"),
        ("human:best", "worse"),
        ("matrix:[[1, 0], [0.5, 0.4]]", "row 1 .* sum 0.9"),
        ("matrix:[[1.1, -0.1], [0.5, 0.5]]", "row 0"),
        ("matrix:[[1, 0, 0], [0, 1, 0]]", "square"),
        ("matrix:[[1, 0], [1]]", "one length"),
        ("matrix:[[1, 0], [0, 1]", "matrix"),
        ('matrix:[["a", 0], [0, 1]]', "numbers"),
    ],
)
def test_wrong_texts_say_what_is_expected(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        NoiseSpec.parse(text)


def test_unknown_kind_suggests_a_near_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pair'"):
        NoiseSpec.parse("pairs:0.4")


def test_a_spec_from_keywords_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="rate"):
        create_noise("sym", rate=1.5)
    with pytest.raises(ConfigError, match="row 0"):
        create_noise("matrix", matrix=((0.5, 0.4), (0.0, 1.0)))


@pytest.mark.parametrize("suffix", [".json", ".csv", ".txt", ".npy"])
def test_a_matrix_file_becomes_its_numbers(tmp_path, suffix: str) -> None:
    rows = [[0.75, 0.25, 0.0], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]]
    path = tmp_path / f"T{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(rows))
    elif suffix == ".npy":
        np.save(path, np.array(rows))
    else:
        np.savetxt(path, rows, delimiter="," if suffix == ".csv" else " ", fmt="%.17g")
    spec = NoiseSpec.parse(f"matrix:{path}")
    assert spec == create_noise("matrix", matrix=rows)
    path.unlink()
    assert NoiseSpec.parse(str(spec)) == spec  # the text holds the numbers: no file is needed any more


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.json", None, "no such file"),
        ("T.json", b"[[1, 0], [0,", "cannot be read"),
        ("T.csv", b"1,zero\n0,1\n", "cannot be read"),
        ("T.npy", b"\x93NUMPY\x01", "cannot be read"),
        ("T.dat", b"1 0\n0 1\n", r"\.json, \.csv"),
    ],
)
def test_broken_matrix_files_are_named(tmp_path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        NoiseSpec.parse(f"matrix:{path}")
    assert str(path) in str(caught.value)


def test_a_pickled_matrix_is_refused(tmp_path) -> None:
    path = tmp_path / "T.npy"
    np.save(path, np.array([[1, None], [0, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"T\.npy"):
        NoiseSpec.parse(f"matrix:{path}")


def test_a_matrix_file_with_a_bad_row_names_file_and_row(tmp_path) -> None:
    path = tmp_path / "T.csv"
    path.write_text("0.9,0.2\n0.1,0.8\n")
    with pytest.raises(ConfigError, match=r"T\.csv: row 0"):
        NoiseSpec.parse(f"matrix:{path}")
