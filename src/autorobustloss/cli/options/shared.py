"""The options that several commands share: a command's own options inherit those it takes."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from autorobustloss.registry import MODELS
from autorobustloss.training.protocol import PRESETS

DATA = Parameter(group=Group("data", sort_key=1))
TASKS = Parameter(
    group=Group("tasks", sort_key=2, help="every combination of data sets, networks, noises and learning rates")
)
TRAINING = Parameter(group=Group("training of the networks", sort_key=3, help="a preset, and what is changed of it"))
RUNNING = Parameter(group=Group("running", sort_key=6))

DEFAULT_MODELS = {"train": "mlp2", "bench": "mlp2", "search": "mlp2,mlp3,cnn4", "search of tables": "mlp2,mlp3"}
DEFAULT_NOISE = {"train": "sym:0.4", "bench": "clean,sym:0.4,sym:0.8,pair:0.4", "search": "sym:0.8"}
"""What a benchmark data set gets without --noise."""


def option(default: Any, text: str) -> Any:
    """Return the field of an option: its default and its help."""
    return field(default=default, metadata={"help": text})


def by_command(defaults: dict[str, str]) -> str:
    """Return defaults that differ between commands, in words."""
    return "; ".join(f"{value} for arl {command}" for command, value in defaults.items())


@dataclass(frozen=True)
class Data:
    """Which data are learnt from."""

    dataset: Annotated[str, DATA] = option(
        "digits",
        "data sets, joined by commas: bundled (digits, wine, …), NAME for DIR/NAME.npz, a path, or a torchvision name",
    )
    data_dir: Annotated[str | None, DATA] = option(None, "where data sets lie (default: $ARL_DATA_DIR)")
    download: Annotated[bool, DATA] = option(False, "let torchvision download what is missing in --data-dir")
    train_size: Annotated[int, DATA] = option(0, "training samples, 0 for all")
    valid_size: Annotated[int | None, DATA] = option(
        None,
        "validation samples, taken out of the training part; 0 for a tenth (default: a fifth of it, at most 2000)",
    )
    test_size: Annotated[int, DATA] = option(0, "test samples, 0 for all")


@dataclass(frozen=True)
class Tasks:
    """What is trained on these data."""

    models: Annotated[str | None, Parameter(name=("--models", "--model")), TASKS] = option(
        None, f"networks, joined by commas: {', '.join(MODELS.names())} (default: {by_command(DEFAULT_MODELS)})"
    )
    noise: Annotated[str | None, TASKS] = option(
        None,
        "label noise, joined by commas: given (the labels as they come, noisy or not), clean (the labels count as "
        "right), sym:RATE, pair:RATE, map:RATE (class map of the data set), matrix:FILE, idn:RATE, human:SET "
        "(default: given for data of your own, a path or what lies in --data-dir under a name of yours; for bundled "
        f"and torchvision data sets {by_command(DEFAULT_NOISE)})",
    )
    allow_hopeless: Annotated[bool, TASKS] = option(
        False, "allow noise under which the right label is not the most frequent one of its class"
    )
    only: Annotated[str | None, TASKS] = option(
        None,
        "of all combinations DATASET/MODEL/NOISE those that match one of these patterns, such as "
        "'*/mlp3/*,usps/cnn4/sym:0.8' (default: all)",
    )


@dataclass(frozen=True)
class Training:
    """A preset, and what is changed of it."""

    protocol: Annotated[str | None, TRAINING] = option(
        None,
        f"{', '.join(sorted(PRESETS))} (default: digits for data sets of at most 2,000 samples, else shallow)",
    )
    epochs: Annotated[int | None, TRAINING] = option(None, "passes over the training data")
    lr: Annotated[str | None, TRAINING] = option(
        None, "learning rate; several, joined by commas, are several tasks; arl bench takes factors too"
    )
    batch_size: Annotated[int | None, TRAINING] = option(None, "samples per step")
    weight_decay: Annotated[float | None, TRAINING] = option(None, "weight decay")
    l1: Annotated[float | None, TRAINING] = option(None, "penalty X·Σ|w| on all weights, beside weight decay")
    schedule: Annotated[str | None, TRAINING] = option(None, "constant, cosine, steps or linear")
    augment: Annotated[str | None, TRAINING] = option(None, "none, crop, or crop-flip (presets do not flip digits)")
    patience: Annotated[int | None, TRAINING] = option(
        None, "stop a network whose training accuracy has not left chance level after N epochs (default: never)"
    )
    precision: Annotated[str | None, TRAINING] = option(None, "float32 or bfloat16")


@dataclass(frozen=True)
class Running:
    """Where and how to run."""

    store: Annotated[str | None, RUNNING] = option(None, "share the results of another run: its store.sqlite")
    workers: Annotated[int | None, RUNNING] = option(None, "processes, one core each (default: the cores there are)")
    device: Annotated[Literal["auto", "cpu", "cuda"], RUNNING] = option(
        "auto", "where networks train (auto: a GPU when there is one)"
    )
    exact: Annotated[bool, RUNNING] = option(
        False,
        "leave out what is faster and agrees to rounding only (the compiled loss, tiny numbers taken for 0): "
        "machines of one type with the same PyTorch build then train to the same bits; other processors do not",
    )
    config: Annotated[str | None, RUNNING] = option(
        None, "read flags from a file in TOML; those given on the command line win"
    )
    json: Annotated[bool, RUNNING] = option(False, "print the outcome as JSON on standard output")
    quiet: Annotated[bool, RUNNING] = option(False, "no progress on standard error")


@dataclass(frozen=True)
class Common(Data, Tasks, Training, Running):
    """What is trained on, how, and where."""


@dataclass(frozen=True)
class Seeded:
    """Whose random numbers."""

    seed: Annotated[int, RUNNING] = option(0, "everything random follows from it")


@dataclass(frozen=True)
class InFolder:
    """Where the outcome is kept."""

    out: Annotated[str | None, RUNNING] = option(None, "run folder (default: runs/NAME, NAME made of the settings)")
