"""Crop and flip on a batch, against the same done image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autorobustloss.data import check_augment, crop, crop_and_flip, handed
from autorobustloss.data.names import HANDED
from autorobustloss.errors import ConfigError
from autorobustloss.seeding import torch_generator


@pytest.mark.parametrize(("way", "mirrors"), [(crop, {False}), (crop_and_flip, {False, True})])
@pytest.mark.parametrize(("shape", "padding"), [((64, 3, 8, 8), 4), ((40, 1, 5, 7), 2), ((9, 3, 6, 6), 0)])
def test_every_image_is_a_window_of_its_padded_self_or_its_mirror(shape, padding, way, mirrors) -> None:
    batch = torch.randn(*shape, generator=torch_generator("batch"))
    got = way(batch, torch_generator("augment"), padding)
    assert got.shape == batch.shape
    assert got.is_contiguous()
    height, width = shape[2:]
    found = []
    for image, result in zip(batch.numpy(), got.numpy()):
        padded = np.pad(image, ((0, 0), (padding,) * 2, (padding,) * 2))
        windows = {
            (top, left, mirror): padded[:, top : top + height, left : left + width][..., :: -1 if mirror else 1]
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for mirror in (False, True)
        }
        matches = [key for key, window in windows.items() if np.array_equal(window, result)]
        assert len(matches) == 1
        found.append(matches[0])
    assert {mirror for _, _, mirror in found} == mirrors
    if padding == 4:
        tops, lefts = {top for top, _, _ in found}, {left for _, left, _ in found}
        assert len(tops) > 6
        assert len(lefts) > 6
        assert any(top != left for top, left, _ in found)


def test_seeded_and_without_side_effects() -> None:
    batch = torch.randn(16, 3, 8, 8, generator=torch_generator("batch"))
    copy = batch.clone()
    state = torch.get_rng_state()
    one, two = (crop_and_flip(batch, torch_generator("augment")) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, crop_and_flip(batch, torch_generator("other")))
    assert torch.equal(batch, copy)
    assert torch.equal(state, torch.get_rng_state())


def test_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape \(4, 7\).*augment="):
        crop_and_flip(torch.ones(4, 7), torch_generator("augment"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in sorted(HANDED)),
        *((name, True) for name in ("mnist[split=26]", "MNIST", "data/usps.npz", "/tmp/kmnist/", r"d:\usps.npz")),
        *((name, False) for name in ("fashion_mnist", "cifar10", "own", "mnist-like-clothes", "usps.zip/own")),
    ],
)
def test_digits_are_known_by_name(name: str, expected: bool) -> None:
    assert handed(name) is expected
    check_augment("crop", name)
    check_augment("none", name)
    if expected:
        with pytest.raises(ConfigError, match=r"mirrored digit is another one; use augment='crop'"):
            check_augment("crop-flip", name)
    else:
        check_augment("crop-flip", name)
    with pytest.raises(ConfigError, match="for a table"):
        check_augment("crop", name, image=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_windows_on_the_gpu() -> None:
    batch = torch.randn(32, 3, 32, 32, generator=torch_generator("batch"))
    here = crop_and_flip(batch, torch_generator("augment"))
    there = crop_and_flip(batch.cuda(), torch_generator("augment"))
    assert there.is_cuda
    assert torch.equal(here, there.cpu())
