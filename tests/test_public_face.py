"""What a user sees of the package: names that type checkers know, and losses as classes."""

import subprocess
import sys
from pathlib import Path

import pytest

import autorobustloss as arl

SCRIPT = """
import torch

import autorobustloss as arl

criterion = arl.GCE(q=0.7, reduction="sum")
loss: torch.Tensor = criterion(torch.zeros(4, 10), torch.tensor([1, 2, 3, 4]))
learned: arl.RobustLoss = arl.create_loss("arl")
data: arl.Dataset = arl.load_dataset("digits")
"""
CHECKERS = {
    "mypy": [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent"],
    "pyright": [sys.executable, "-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable],
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_know_every_public_name(checker, tmp_path):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(SCRIPT + "".join(f"arl.{name}\n" for name in arl.__all__))
    bad.write_text(SCRIPT + "arl.no_such_name\n")
    for script, code in ((good, 0), (bad, 1)):
        done = subprocess.run([*CHECKERS[checker], str(script)], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
    assert "no_such_name" in done.stdout


def test_every_loss_of_the_literature_is_a_public_class():
    from autorobustloss.registry import LOSSES

    for name in LOSSES:
        made = LOSSES.get(name)
        if isinstance(made, type):
            assert getattr(arl, made.__name__) is made, f"{name}: {made.__name__} is missing in __init__.pyi"


def test_the_stub_lists_public_names_once():
    lines = (Path(arl.__file__).with_suffix(".pyi")).read_text(encoding="utf-8").splitlines()
    imports = [line for line in lines if line.startswith("from ")]
    assert len(imports) == len(set(imports))
