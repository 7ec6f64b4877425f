"""What the tests of the registered losses share."""

import pytest

from autorobustloss.losses import create_loss


@pytest.fixture(scope="session")
def build():
    """Return losses for five classes as they are before training, with hyper-parameters where they need some."""
    examples = {
        "taylor": {"theta": [0.4, 0.5, -1.0, 0.5, 0.3, -0.2, -1.0, 0.3, 0.4, 0.2, -0.1, 0.6], "log_weight": 0.2},
        "forward": {"T": [[0.8 if i == j else 0.05 for j in range(5)] for i in range(5)]},
    }
    return lambda name, **arguments: create_loss(name, **examples.get(name, {}), **arguments).at_start(5)


@pytest.fixture
def count_sweeps(monkeypatch):
    """Return a function that lists, for a module whose `sweep` is called, which batches the kernel takes."""

    def count(place):
        seen, original = [], place.sweep

        def counted(*arguments, **options):
            found = original(*arguments, **options)
            seen.append(found is not None)
            return found

        monkeypatch.setattr(place, "sweep", counted)
        return seen

    return count
