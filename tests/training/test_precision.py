"""Every network learns in bfloat16 as in float32, in a job: its surroundings are part of what may go wrong."""

from itertools import product

import pytest

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.methods import MethodSpec
from autorobustloss.models import list_models
from autorobustloss.registry import MODELS
from autorobustloss.runs import Job, Task, run_job
from autorobustloss.training import TrainingProtocol


def losses(model, method, precision):
    protocol = TrainingProtocol(lr=0.03, momentum=0.9, batch_size=32, epochs=6, precision=precision)
    job = Job(Task(DataSpec("digits", 256, 64, 64), "clean", model, protocol), MethodSpec.of(method))
    return run_job(job, load_dataset("digits")).history.train_loss


PAIRS = [*product(list_models(), ["ce", "elr"]), ("jocor-net", "jocor"), ("mlp2", "sam")]


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_bfloat16_learns_like_float32(name, method):
    model = f"{name}(width=0.125)" if "width" in MODELS.parameters(name) else name
    usual, rounded = (losses(model, method, precision) for precision in ("float32", "bfloat16"))
    assert usual != rounded
    fall = usual[0] - usual[-1]
    assert fall > 0.05  # or the agreement would say nothing
    assert rounded[-1] == pytest.approx(usual[-1], abs=0.02 + 0.3 * fall)
