"""What a call is given beside logits and target: weights of samples, what a mean divides by; and smoothed labels."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from autorobustloss.errors import ConfigError, LossInputError, UnsupportedArgumentError
from autorobustloss.losses import EarlyLearningLoss, GatedLoss, MultiLabel, create_loss, list_losses
from autorobustloss.losses.base import smoothed_target

NAMES = list_losses()
each_loss = pytest.mark.parametrize("name", NAMES)
LABELS = torch.tensor([0, 3, 1, 4, -100, 2, 2, 0])
CLASS_WEIGHT = torch.linspace(0.5, 2.0, 5, dtype=torch.float64)


def logits(rows=8, seed=0):
    return 2 * torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(rows=8):
    values = torch.rand(rows, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    values[2] = 0.0
    return values


def mixed(rows=8):
    return torch.rand(rows, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64).softmax(1)


def value_and_grad(call, z):
    z = z.clone().requires_grad_()
    value = call(z)
    return value.detach(), torch.autograd.grad(value.sum(), z)[0]


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


class TestSampleWeight:
    @each_loss
    @pytest.mark.parametrize("weight", [None, CLASS_WEIGHT], ids=["plain", "class weights"])
    def test_labels(self, build, name, weight):
        """The formula, written out on the rows that exist alone."""
        s, there = weights(), (LABELS != -100) & (weights() != 0)
        rows = build(name, reduction="none")
        c = torch.ones(5, dtype=torch.float64) if weight is None else weight
        factor = (s * c[LABELS.clamp_min(0)])[there]

        def plain(z):
            return rows(z[there], LABELS[there]) * factor

        for reduction, wanted in (
            ("none", lambda z: torch.zeros(8, dtype=z.dtype).masked_scatter(there, plain(z))),
            ("sum", lambda z: plain(z).sum()),
            ("mean", lambda z: plain(z).sum() / factor.sum()),
        ):
            loss = build(name, weight=weight, reduction=reduction)
            close(
                value_and_grad(partial(loss, target=LABELS, sample_weight=s), logits()),
                value_and_grad(wanted, logits()),
            )

    @each_loss
    def test_probabilities(self, build, name):
        s, there = weights(), weights() != 0
        rows, loss = build(name, reduction="none"), build(name)

        def wanted(z):
            return (rows(z[there], mixed()[there]) * s[there]).sum() / s.sum()

        close(value_and_grad(lambda z: loss(z, mixed(), sample_weight=s), logits()), value_and_grad(wanted, logits()))

    @each_loss
    def test_of_one_changes_nothing_and_of_none_gives_0(self, build, name):
        loss, one = build(name), torch.ones(8)
        for target in (LABELS, mixed()):
            close(loss(logits(), target, sample_weight=one), loss(logits(), target))
            value, slope = value_and_grad(lambda z, t=target: loss(z, t, sample_weight=0 * one), logits())
            assert value == 0
            assert (slope == 0).all()

    @pytest.mark.parametrize("name", ["ce", "gce", "arl", "gated", "antidote"])
    @pytest.mark.parametrize("soft", [False, True])
    def test_who_does_not_exist_is_not_looked_at(self, build, name, soft):
        broken = logits()
        broken[2] = torch.nan
        target = mixed() if soft else LABELS
        one, other = create_loss(name), create_loss(name)
        for _ in range(3):
            found = value_and_grad(lambda z: one(z, target, sample_weight=weights()), broken)
            wanted = value_and_grad(lambda z: other(z, target, sample_weight=weights()), logits())
            close(found, wanted)

    def test_a_gated_loss_counts_each_sample_once(self):
        one, other = GatedLoss(), GatedLoss()
        one(logits().requires_grad_(), LABELS, sample_weight=10 * weights().clamp_min(0.1))
        other(logits().requires_grad_(), LABELS)
        for (name, a), (_, b) in zip(one.named_buffers(), other.named_buffers()):
            assert torch.equal(a, b), name

    @pytest.mark.parametrize("name", ["gce", "arl"])
    def test_dense(self, build, name):
        loss, s = build(name), weights()
        z, y = logits().reshape(2, 4, 5).movedim(2, 1), LABELS.reshape(2, 4)
        close(loss(z, y, sample_weight=s.reshape(2, 4)), loss(logits(), LABELS, sample_weight=s))
        close(loss(logits()[0], LABELS[0], sample_weight=torch.tensor(3.0)), loss(logits()[0], LABELS[0]))

    @pytest.mark.parametrize("name", ["gce", "arl"])
    def test_its_gradient_is_the_loss_of_a_sample(self, build, name):
        s = weights().requires_grad_()
        build(name, reduction="sum")(logits(), LABELS, sample_weight=s).backward()
        rows = build(name, reduction="none")(logits(), LABELS)
        close(s.grad[s.detach() != 0], rows[s.detach() != 0])

    @pytest.mark.parametrize("name", ["gce", "arl", "gated"])
    @pytest.mark.parametrize(
        "bad",
        [torch.ones(7), torch.ones(8, 5), -torch.ones(8), torch.full((8,), torch.nan), torch.full((8,), torch.inf),
         torch.ones(8, dtype=torch.complex64), "heavy", 1.0],
        ids=str,
    )  # fmt: skip
    def test_what_cannot_be_meant(self, build, name, bad):
        with pytest.raises(LossInputError, match="sample_weight"):
            build(name)(logits(), LABELS, sample_weight=bad)

    def test_of_a_loss_that_knows_its_samples(self):
        losses = [EarlyLearningLoss(num_samples=8, num_classes=5) for _ in range(2)]
        places, there = torch.arange(8), weights() != 0
        z = logits().requires_grad_()
        for _ in range(2):
            found = losses[0](z, mixed(), index=places, sample_weight=there.double())
            wanted = losses[1](z[there], mixed()[there], index=places[there])
            close(found, wanted)
        assert torch.equal(losses[0].targets, losses[1].targets)


class TestNormalizer:
    @each_loss
    @pytest.mark.parametrize("parts", [1, 2, 4])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_accumulation_is_exact(self, build, name, parts, weighted):
        loss = build(name, weight=CLASS_WEIGHT if weighted else None)
        if loss.batchwise and parts > 1:
            pytest.skip("its samples hang on all others of their call")
        s = weights() if weighted else None
        size = 8 // parts
        shares = [None] * parts if s is None else s.split(size)
        total = sum(loss.denominator(y, w) for y, w in zip(LABELS.split(size), shares))
        pieces = list(zip(LABELS.split(size), shares))

        def in_parts(z):
            return sum(loss(a, y, sample_weight=w, normalizer=total) for a, (y, w) in zip(z.split(size), pieces))

        close(value_and_grad(in_parts, logits()),
              value_and_grad(lambda z: loss(z, LABELS, sample_weight=s), logits()))  # fmt: skip

    @pytest.mark.parametrize("name", ["gce", "arl"])
    def test_of_probabilities(self, build, name):
        loss, s = build(name), weights()
        assert loss.denominator(mixed()) == 8
        close(loss(logits(), mixed(), sample_weight=s, normalizer=loss.denominator(mixed(), s)),
              loss(logits(), mixed(), sample_weight=s))  # fmt: skip

    @pytest.mark.parametrize("name", ["gce", "arl"])
    def test_below_one(self, build, name):
        s = 0.01 * weights()
        close(build(name)(logits(), LABELS, sample_weight=s, normalizer=build(name).denominator(LABELS, s)),
              build(name)(logits(), LABELS, sample_weight=s))  # fmt: skip

    @pytest.mark.parametrize("name", ["gce", "arl"])
    def test_what_cannot_be_meant(self, build, name):
        for bad in (-1.0, float("nan"), float("inf"), "6", torch.ones(2), torch.tensor(-1.0), True):
            with pytest.raises(UnsupportedArgumentError, match="expected one number >= 0"):
                build(name)(logits(), LABELS, normalizer=bad)
        for reduction in ("sum", "none"):
            with pytest.raises(UnsupportedArgumentError, match="expected reduction='mean'"):
                build(name, reduction=reduction)(logits(), LABELS, normalizer=6)
        with pytest.raises(UnsupportedArgumentError, match="expected one of them"):
            build(name)(logits(), LABELS, normalizer=6, num_items_in_batch=6)


def smooths(name):
    try:
        create_loss(name, **({"T": torch.eye(2)} if name == "forward" else {"theta": [0, 0, 0, 0, -1]}
                             if name == "taylor" else {}), label_smoothing=0.1)  # fmt: skip
    except ConfigError:
        return False
    return True


class TestLabelSmoothing:
    @pytest.mark.parametrize("weight", [None, CLASS_WEIGHT], ids=["plain", "class weights"])
    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("target", [LABELS, mixed()], ids=["labels", "probabilities"])
    def test_of_cross_entropy_is_that_of_pytorch(self, weight, reduction, target):
        ours = create_loss("ce", weight=weight, reduction=reduction, label_smoothing=0.3)
        theirs = nn.CrossEntropyLoss(weight=weight, reduction=reduction, label_smoothing=0.3)
        close(
            value_and_grad(lambda z: ours(z, target), logits()), value_and_grad(lambda z: theirs(z, target), logits())
        )

    @pytest.mark.parametrize("name", [n for n in NAMES if smooths(n) and n != "bi_tempered"])
    def test_is_a_smoothed_target(self, build, name):
        y = LABELS.clamp_min(0)
        target = smoothed_target(nn.functional.one_hot(y, 5).double(), 0.2)
        loss, rows = build(name, label_smoothing=0.2), build(name)
        wanted = value_and_grad(lambda z: rows(z, target), logits())
        close(value_and_grad(lambda z: loss(z, y), logits()), wanted)
        close(loss.value_and_gradient(logits(), y), wanted)
        assert name == "forward" or "label_smoothing=0.2" in repr(loss)

    def test_who_has_no_meaning_for_it_refuses(self):
        assert {n for n in NAMES if not smooths(n)} >= {"gated", "antidote", "nls"}
        for name in ("gated", "antidote", "nls"):
            with pytest.raises(ConfigError, match="label_smoothing"):
                create_loss(name, label_smoothing=0.1)
        for bad in (-0.1, 1.1, float("nan"), "a"):
            with pytest.raises(ConfigError, match="label_smoothing"):
                create_loss("gce", label_smoothing=bad)

    def test_bi_tempered_has_its_own(self):
        own = create_loss("bi_tempered", label_smoothing=0.2, num_iters=50)
        y = LABELS.clamp_min(0)
        target = nn.functional.one_hot(y, 5).double() * (1 - 0.2 * 5 / 4) + 0.2 / 4
        close(own(logits(), y), create_loss("bi_tempered", num_iters=50)(logits(), target))


class TestMultiLabel:
    TARGET = torch.randint(0, 2, (8, 3), generator=torch.Generator().manual_seed(3))

    def test_with_cross_entropy_it_is_binary_cross_entropy(self):
        z, t, w = logits()[:, :3], mixed()[:, :3], weights()
        for reduction in ("mean", "sum", "none"):
            ours, theirs = MultiLabel("ce", reduction=reduction), nn.BCEWithLogitsLoss(reduction=reduction)
            close(value_and_grad(lambda a: ours(a, t), z), value_and_grad(lambda a: theirs(a, t), z))  # noqa: B023
        rows = nn.BCEWithLogitsLoss(reduction="none")(z, t)
        close(MultiLabel("ce")(z, t, sample_weight=w), (rows * w[:, None]).sum() / (3 * w.sum()))

    @pytest.mark.parametrize("name", [n for n in NAMES if n not in ("taylor", "forward", "arl-dr-s80")])
    def test_each_label_is_a_loss_of_two_classes(self, name):
        z, t = logits()[:, :3].float(), self.TARGET
        two = create_loss(name, reduction="none")
        pairs = torch.stack([torch.zeros_like(z), z], dim=1)
        wanted = [copy.deepcopy(two)(pairs[..., k], t[:, k]) for k in range(3)]
        for target in (t, t.float()):
            close(MultiLabel(name, reduction="none")(z, target), torch.stack(wanted, dim=1))
            close(MultiLabel(name)(z, target), torch.stack(wanted).mean())
            close(MultiLabel(name)(z, target, normalizer=48), torch.stack(wanted).sum() / 48)

    @pytest.mark.parametrize("name", ["gce", "gated"])
    def test_labels_nobody_knows(self, name):
        t = self.TARGET.clone()
        t[::3, 1] = -100
        z, known = logits()[:, :3], t != -100
        loss = MultiLabel(name, weight=torch.tensor([1.0, 3.0]))
        rows = MultiLabel(name, reduction="none", weight=torch.tensor([1.0, 3.0]))(z, t)
        assert (rows[~known] == 0).all()
        close(loss(z, t), rows.sum() / torch.where(t == 1, 3.0, 1.0)[known].sum())

    def test_a_label_is_measured_by_its_own_samples(self):
        """What a gated loss remembers of one label does not move the weights of another."""
        t, z = self.TARGET.float(), logits()[:, :3].requires_grad_()
        one, other = MultiLabel("gated", reduction="none"), MultiLabel("gated", reduction="none")
        changed = z.detach().clone()
        changed[:, 0] *= -5
        for _ in range(3):
            found, wanted = one(z, t), other(changed.requires_grad_(), t)
        close(found[:, 1:], wanted[:, 1:])
        assert not torch.allclose(found[:, 0], wanted[:, 0])
        assert not MultiLabel("gated").eval().loss.training
        assert all(not loss.training for loss in one.eval().each)

    def test_what_cannot_be_meant(self):
        z = logits()[:, :3]
        for bad in (torch.zeros(8, dtype=torch.long), torch.zeros(8, 4), 1):
            with pytest.raises(LossInputError, match=r"expected \(N, K\)"):
                MultiLabel("gce")(z, bad)
        for bad in (torch.full((8, 3), 2), torch.full((8, 3), 1.5)):
            with pytest.raises(LossInputError):
                MultiLabel("gce")(z, bad)
        with pytest.raises(ConfigError, match="expected the name"):
            MultiLabel(create_loss("gce"), q=0.5)
        with pytest.raises(LossInputError, match="MultiLabel"):
            create_loss("gce")(z, self.TARGET.float())
