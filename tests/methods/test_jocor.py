"""JoCoR against the authors' code: losses, selection, gradients, schedule."""

import json
from pathlib import Path

import pytest
import torch

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.methods import MethodSpec, Setting, run_method
from autorobustloss.methods.jocor import JoCoR, forget_rate_at, joint_losses, smallest_mean
from autorobustloss.training.protocol import PRESETS

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = json.loads((GOLDEN / "jocor.json").read_text())
SCHEDULES = json.loads((GOLDEN / "jocor_schedule.json").read_text())["cases"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", CASES["cases"], ids=lambda c: f"{c['kind']}-{c['C']}-{c['hparams']['forget_rate']}")
def test_golden(case, dtype):
    logits = torch.tensor([case["logits1"], case["logits2"]], dtype=dtype, requires_grad=True)
    tolerance = CASES["tolerance"][str(dtype).removeprefix("torch.")]
    joint = joint_losses(logits, torch.tensor(case["labels"]), case["hparams"]["co_lambda"])
    loss = smallest_mean(joint, case["hparams"]["forget_rate"])
    loss.backward()
    near = {"rtol": tolerance["loss_rtol"], "atol": tolerance["loss_atol"]}
    torch.testing.assert_close(joint.detach(), torch.tensor(case["per_sample"], dtype=dtype), **near)
    torch.testing.assert_close(loss.detach(), torch.tensor(case["loss"], dtype=dtype), **near)
    expected = torch.tensor([case["grad1"], case["grad2"]], dtype=dtype)
    allowed = tolerance["grad_atol"] + tolerance["grad_rtol"] * expected.abs().max()
    assert (logits.grad - expected).abs().max() <= allowed
    kept = logits.grad.abs().sum(dim=(0, 2)).nonzero().flatten().tolist()
    assert set(kept) <= set(case["selected"])
    assert case["kind"] != "n01" or sorted(kept) == sorted(case["selected"])


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda c: f"{c['args']['noise_type']}-{c['args']['noise_rate']}")
def test_forget_rates_golden(case):
    arguments = case["args"]
    tau = arguments["noise_rate"] / (2 if arguments["noise_type"] == "asymmetric" else 1)
    rates = [forget_rate_at(epoch, tau, arguments["num_gradual"]) for epoch in range(1, 201)]
    assert rates == pytest.approx(case["rate_schedule"], rel=1e-12)


def test_one_sample_is_always_kept():
    assert smallest_mean(torch.tensor([3.0, 1.0, 2.0]), forget_rate=0.99).item() == 1.0


def test_objective_trains_both_networks_on_the_kept_samples():
    networks = [torch.nn.Linear(4, 3, dtype=torch.float64) for _ in range(2)]
    objective = JoCoR(networks, co_lambda=0.5, forget_rate=0.5, ramp=2)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 4, dtype=torch.float64, generator=generator), torch.arange(8) % 3
    all_of_them, logits = objective.loss(x, y, epoch=1)
    half, _ = objective.loss(x, y, epoch=2)
    joint = joint_losses(logits, y, 0.5)
    assert logits.shape == (2, 8, 3)
    torch.testing.assert_close(all_of_them, joint.mean())
    torch.testing.assert_close(half, joint.sort().values[:4].mean())
    half.backward()
    assert all(p.grad.abs().sum() > 0 for network in networks for p in network.parameters())


@pytest.mark.slow
@pytest.mark.data
def test_it_outlives_cross_entropy_on_mnist_under_half_symmetric_noise(real_dir):
    data = load_dataset("mnist", real_dir)
    protocol = PRESETS["jocor-net"].but(epochs=20, evaluate_every=20)
    accuracy = {"ce": [], "jocor(co_lambda=0.95)": []}
    for seed in range(2):
        splits = make_splits(data, DataSpec("mnist", 3000, 500, 2000), "sym:0.5", seed, seed)
        for method, found in accuracy.items():
            setting = Setting("mlp2", splits, protocol, seed, ("test",))
            _, history = run_method(MethodSpec.parse(method), setting)
            found.append(history.last("test"))
    for plain, joint in zip(*accuracy.values()):
        assert joint > plain + 0.08
    assert sum(accuracy["jocor(co_lambda=0.95)"]) > sum(accuracy["ce"]) + 2 * 0.12
