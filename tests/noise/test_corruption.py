"""Corrupted labels: they follow T, obey the seed and nothing else, and never return a class of probability 0."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autorobustloss.errors import ConfigError
from autorobustloss.noise import corrupt, create_noise, realised_rate, transition_matrix
from autorobustloss.seeding import torch_generator


def labels_of(count: int, classes: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, classes, count))


@pytest.mark.parametrize(
    ("text", "classes", "dataset"),
    [
        ("sym:0.8", 10, ""),
        ("sym:0.2", 3, ""),
        ("pair:0.45", 26, ""),
        ("map:0.4", 10, "cifar10"),
        ("map:0.4:legacy", 10, "cifar10"),
        ("map:0.3", 100, "cifar100"),
        ("matrix:[[0.5,0.25,0.25],[0,1,0],[0.001,0,0.999]]", 3, ""),
    ],
)
def test_flips_follow_the_matrix(text: str, classes: int, dataset: str) -> None:
    T = transition_matrix(text, classes, dataset)
    clean = labels_of(200_000, classes)
    noisy = corrupt(clean, T, torch_generator("noise", 1))
    counts = np.zeros((classes, classes))
    np.add.at(counts, (clean.numpy(), noisy.numpy()), 1)
    assert counts[T.numpy() == 0].sum() == 0
    p_values = []
    for row, probabilities in zip(counts, T.numpy()):
        possible = probabilities > 0
        if possible.sum() > 1:
            p_values.append(stats.chisquare(row[possible], row.sum() * probabilities[possible]).pvalue)
    assert min(p_values) > 1e-4 / len(p_values)
    expected = 1 - T.numpy()[clean, clean].mean()
    assert realised_rate(clean, noisy) == pytest.approx(expected, abs=0.006)


def test_the_inverse_agrees_with_a_search_row_by_row() -> None:
    T = torch.tensor([[0.2, 0.5, 0.3], [0.25, 0.0, 0.75], [0.0, 1.0, 0.0]], dtype=torch.float64)
    clean = labels_of(3000, 3)
    uniform = torch.rand(3000, generator=torch_generator("u"), dtype=torch.float64).numpy()
    expected = []
    for y, u in zip(clean.tolist(), uniform):
        order = [(y + i) % 3 for i in range(3)]
        ends = np.cumsum([T[y, j] for j in order])
        expected.append(order[int(np.searchsorted(ends, u, side="right"))])
    assert corrupt(clean, T, torch_generator("u")).tolist() == expected


@given(st.integers(0, 2**40), st.integers(1, 300), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_a_label_depends_on_seed_position_and_itself_only(seed: int, count: int, classes: int) -> None:
    T = transition_matrix("sym:0.5", classes)
    clean = labels_of(count + 50, classes)
    whole = corrupt(clean, T, torch_generator("noise", seed))
    assert torch.equal(corrupt(clean, T, torch_generator("noise", seed)), whole)
    assert torch.equal(corrupt(clean[:count], T, torch_generator("noise", seed)), whole[:count])
    changed = clean.clone()
    changed[0] = (changed[0] + 1) % classes
    assert torch.equal(corrupt(changed, T, torch_generator("noise", seed))[1:], whole[1:])


@given(st.floats(0, 0.98), st.floats(0, 0.98), st.sampled_from(["sym", "pair"]))
@settings(max_examples=30, deadline=None)
def test_flips_at_a_lower_rate_are_flips_at_a_higher_one(a: float, b: float, kind: str) -> None:
    low, high = sorted((a, b))
    clean = labels_of(500, 7)
    flipped = [
        corrupt(clean, transition_matrix(f"{kind}:{rate!r}", 7), torch_generator("noise", 3)) != clean
        for rate in (low, high)
    ]
    assert not (flipped[0] & ~flipped[1]).any()


def test_the_same_seed_gives_the_same_labels_in_another_process() -> None:
    code = (
        "import torch; from autorobustloss.noise import *; from autorobustloss.seeding import torch_generator;"
        "torch.rand(5);"
        "print(corrupt(torch.arange(40) % 10, transition_matrix('sym:0.8', 10), torch_generator('noise', 5)).tolist())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = corrupt(torch.arange(40) % 10, transition_matrix("sym:0.8", 10), torch_generator("noise", 5))
    assert output.strip() == str(here.tolist())


def test_exact_labels_are_pinned() -> None:
    """A change of the drawing rule changes every stored result: it must be a decision, not an accident."""
    noisy = corrupt(torch.arange(20) % 10, transition_matrix("sym:0.8", 10), torch_generator("noise", 0))
    assert noisy.tolist() == [5, 3, 0, 0, 0, 0, 8, 0, 0, 6, 5, 9, 5, 2, 9, 1, 8, 4, 4, 7]


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    corrupt(labels_of(100, 5), transition_matrix("sym:0.5", 5), torch_generator("noise", 0))
    by_instance(torch.randn(9, 3, generator=torch_generator("x")), labels_of(9, 3), 0.3, 3, torch_generator("n"))
    assert torch.equal(before, torch.get_rng_state())


def test_certain_rows_and_no_labels() -> None:
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert corrupt(torch.tensor([0, 1, 1]), swap, torch_generator("noise", 0)).tolist() == [1, 0, 0]
    assert corrupt(torch.tensor([], dtype=torch.long), swap, torch_generator("noise", 0)).tolist() == []
    assert realised_rate(torch.tensor([]), torch.tensor([])) == 0


def test_wrong_input_is_refused() -> None:
    generator = torch_generator("noise", 0)
    with pytest.raises(ConfigError, match="row 1"):
        corrupt(torch.tensor([0]), torch.tensor([[1.0, 0.0], [0.5, 0.4]]), generator)
    with pytest.raises(ConfigError, match=r"shape \(2, 3\)"):
        corrupt(torch.tensor([0]), torch.ones(2, 3) / 3, generator)
    with pytest.raises(ConfigError, match="labels from 0 to 2"):
        corrupt(torch.tensor([0, 2]), torch.eye(2), generator)
    with pytest.raises(ConfigError, match=r"\[0, 1\]"):
        create_noise("idn", rate=-0.1).draw(torch.ones(2, 2), torch.tensor([0, 1]), 2, generator)


def by_instance(x, labels, rate, classes, generator):
    return create_noise("idn", rate=rate).draw(x, labels, classes, generator)


class TestInstanceDependent:
    def test_rate_and_no_flip_to_the_true_class(self) -> None:
        x = torch.randn(20_000, 8, generator=torch_generator("x"))
        clean = labels_of(20_000, 6)
        noisy = by_instance(x, clean, 0.4, 6, torch_generator("noise", 0))
        # The mean of a normal(0.4, 0.1) truncated to [0, 1].
        expected = stats.truncnorm(-4, 6, loc=0.4, scale=0.1).mean()
        assert realised_rate(clean, noisy) == pytest.approx(expected, abs=4 * (0.24 / 20_000) ** 0.5)
        assert int(noisy.min()) == 0
        assert int(noisy.max()) == 5

    def test_a_low_rate_is_truncated_as_published(self) -> None:
        clean = labels_of(40_000, 4)
        noisy = by_instance(torch.zeros(40_000, 1), clean, 0.05, 4, torch_generator("noise", 0))
        expected = stats.truncnorm(-0.5, 9.5, loc=0.05, scale=0.1).mean()
        assert realised_rate(clean, noisy) == pytest.approx(expected, abs=0.007)

    def test_the_flip_depends_on_the_features(self) -> None:
        """Two kinds of samples of one class go to different wrong classes, the same one for alike samples."""
        x = torch.cat([torch.eye(2)[0].expand(4000, 2), torch.eye(2)[1].expand(4000, 2)]) * 6
        clean = torch.zeros(8000, dtype=torch.long)
        noisy = by_instance(x, clean, 0.45, 8, torch_generator("noise", 4))
        first, second = (torch.bincount(part, minlength=8)[1:].double() for part in noisy.split(4000))
        assert stats.chi2_contingency(np.stack([first + 1, second + 1])).pvalue < 1e-10

    def test_zero_features_flip_evenly(self) -> None:
        clean = labels_of(30_000, 5)
        noisy = by_instance(torch.zeros(30_000, 3), clean, 0.5, 5, torch_generator("noise", 1))
        hops = torch.bincount((noisy - clean) % 5, minlength=5)[1:]
        assert stats.chisquare(hops.numpy()).pvalue > 1e-4

    def test_against_a_direct_loop(self) -> None:
        """The same draws through a sample-by-sample reading of the algorithm."""
        x, clean, rate, classes = torch.randn(60, 4, generator=torch_generator("x")), labels_of(60, 3), 0.4, 3
        generator = torch_generator("noise", 2)
        draws = torch.rand(2, 60, generator=generator, dtype=torch.float64).numpy()
        W = [torch.randn(4, classes, generator=generator).double().numpy() for _ in range(classes)]
        q = stats.truncnorm.ppf(draws[0], -4, 6, loc=rate, scale=0.1)
        expected = []
        for n, y in enumerate(clean.tolist()):
            score = np.exp(x[n].double().numpy() @ W[y])
            score[y] = 0
            P = q[n] * score / score.sum()
            P[y] = 1 - q[n]
            ends = np.cumsum([P[(y + i) % classes] for i in range(classes)])
            expected.append((y + int(np.searchsorted(ends, draws[1, n], side="right"))) % classes)
        assert by_instance(x, clean, rate, classes, torch_generator("noise", 2)).tolist() == expected

    def test_bytes_are_brought_to_the_unit_interval(self) -> None:
        x = torch.randint(0, 256, (500, 1, 4, 4), generator=torch_generator("x"), dtype=torch.uint8)
        clean = labels_of(500, 4)
        a = by_instance(x, clean, 0.4, 4, torch_generator("noise", 0))
        b = by_instance(x.float() / 255, clean, 0.4, 4, torch_generator("noise", 0))
        assert torch.equal(a, b)
