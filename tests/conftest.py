"""Settings for all tests."""

import os

import pytest
import torch
from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    """Make tests that draw from the global generator repeatable."""
    torch.manual_seed(0)
