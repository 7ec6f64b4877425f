"""Networks of few channels train on every kind of processor: a library beneath that breaks kills the process."""

import os
import subprocess
import sys

import pytest

NETWORKS = [
    *(f"{name}(width={width})" for name in ("resnet18", "vgg11", "jocor-net") for width in (0.01, 0.03, 0.0625, 0.1)),
    *(f"resnet18(width={width}, imagenet_stem=True)" for width in (0.03, 0.0625)),
    *(f"cnn4(channels={channels}, hidden=3)" for channels in ((1, 1), (2, 7), (3, 5))),
]
SCRIPT = f"""
import torch
from autorobustloss.models import build_model

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
for name in {NETWORKS}:
    for shape in (1, 8, 8), (3, 17, 17), (3, 32, 32):
        network = build_model(name, shape, 10, seed=0)
        for layout in torch.contiguous_format, torch.channels_last:
            x = torch.randn(37, *shape, generator=draw).to(memory_format=layout)
            network.zero_grad()
            network(x).square().mean().backward()
            assert all(p.grad.isfinite().all() for p in network.parameters()), (name, shape, layout)
"""


@pytest.mark.parametrize(
    "newest",  # the newest vectors that oneDNN may use; what a processor lacks it leaves out
    ["AVX2", *(pytest.param(isa, marks=pytest.mark.slow) for isa in ("SSE41", "AVX", "AVX2_VNNI", "AVX512_CORE"))],
)
def test_narrow_networks_train(newest):
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": newest}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
