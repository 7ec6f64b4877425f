"""The options that several commands share: a command's own inherit them; the documentation of a field is its help."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

DATA = Parameter(group=Group("data", sort_key=1))
TASKS = Parameter(
    group=Group("tasks", sort_key=2, help="every combination of data sets, networks, noises and learning rates")
)
TRAINING = Parameter(group=Group("training of the networks", sort_key=3, help="a preset, and what is changed of it"))
RUNNING = Parameter(group=Group("running", sort_key=6))


@dataclass(frozen=True)
class Grid:
    """What is trained on which data, and how.

    Attributes:
        dataset: data sets, joined by commas: bundled (digits, wine, …), NAME for DIR/NAME.npz, a torchvision name, or a
            path: a table (.csv, .tsv, .parquet, .feather, .arrow), a folder of images, a folder that Hugging Face's
            datasets saved, an .npz
        target: the column of labels, of a table
        test_split: share of the samples that becomes the test part, stratified, of data that have none (default: 0.2)
        data_dir: where data sets lie (default: $ARL_DATA_DIR)
        download: let torchvision download what is missing in --data-dir
        train_size: training samples, 0 for all
        valid_size: validation samples, taken out of the training part; 0 for a tenth (default: a fifth of it, at most
            2000)
        test_size: test samples, 0 for all
        models: networks, joined by commas: linear, mlp2, mlp3, cnn4, cnn8, jocor-net, vgg11, resnet18 (default: mlp2;
            of arl search mlp2,mlp3,cnn4, of tables mlp2,mlp3)
        noise: label noise, joined by commas: given (the labels as they come, noisy or not), clean (the labels count as
            right), sym:RATE, pair:RATE, map:RATE (class map of the data set), matrix:FILE, idn:RATE, human:SET
            (default: given for data of your own, a path or what lies in --data-dir under a name of yours, and of arl
            labels; for bundled and torchvision data sets sym:0.8 of arl search, sym:0.4 of arl train,
            clean,sym:0.4,sym:0.8,pair:0.4 of arl bench)
        allow_hopeless: allow noise under which the right label is not the most frequent one of its class
        only: of all combinations DATASET/MODEL/NOISE those that match one of these patterns, such as
            '*/mlp3/*,usps/cnn4/sym:0.8' (default: all)
        protocol: clothing1m, digits, field, jocor, jocor-net, lookahead, shallow (default: digits for data sets of at
            most 2,000 samples, else shallow)
        epochs: passes over the training data
        lr: learning rate; several, joined by commas, are several tasks
        batch_size: samples per step
        weight_decay: weight decay
        l1: penalty X·Σ|w| on all weights, beside weight decay
        schedule: constant, cosine, steps or linear
        augment: none, crop, or crop-flip (presets do not flip digits)
        evaluate_every: epochs between evaluations, of which the best can be chosen and of which curves are drawn; the
            last is always one (default: 10 of the protocol digits, else 1)
        patience: stop a network whose training accuracy has not left chance level after so many epochs (default:
            never)
        precision: float32 or bfloat16
    """

    dataset: Annotated[str, DATA] = "digits"
    target: Annotated[str | None, DATA] = None
    test_split: Annotated[float | None, DATA] = None
    data_dir: Annotated[str | None, DATA] = None
    download: Annotated[bool, DATA] = False
    train_size: Annotated[int, DATA] = 0
    valid_size: Annotated[int | None, DATA] = None
    test_size: Annotated[int, DATA] = 0
    models: Annotated[str | None, Parameter(name=("--models", "--model")), TASKS] = None
    noise: Annotated[str | None, TASKS] = None
    allow_hopeless: Annotated[bool, TASKS] = False
    only: Annotated[str | None, TASKS] = None
    protocol: Annotated[str | None, TRAINING] = None
    epochs: Annotated[int | None, TRAINING] = None
    lr: Annotated[str | None, TRAINING] = None
    batch_size: Annotated[int | None, TRAINING] = None
    weight_decay: Annotated[float | None, TRAINING] = None
    l1: Annotated[float | None, TRAINING] = None
    schedule: Annotated[str | None, TRAINING] = None
    augment: Annotated[str | None, TRAINING] = None
    evaluate_every: Annotated[int | None, TRAINING] = None
    patience: Annotated[int | None, TRAINING] = None
    precision: Annotated[str | None, TRAINING] = None


@dataclass(frozen=True)
class Common(Grid):
    """What is trained, where and how it runs.

    Attributes:
        store: share the results of another run: its store.sqlite
        workers: processes, one core each (default: the cores there are; on a cluster, whatever it has room for)
        executor: who trains: local (this machine), ray (the Ray cluster of this machine or of $RAY_ADDRESS, else one is
            started here), or ray://HOST:PORT (the cluster with this head)
        gpus_per_worker: GPUs of each worker on a cluster, such as 0.25 for four workers on one (default: 0; 1 with
            --device cuda)
        device: where networks train (auto: a GPU when there is one)
        exact: leave out what is faster and agrees to rounding only (the compiled loss, tiny numbers taken for 0):
            machines of one type with the same PyTorch build then train to the same bits; other processors do not
        config: read flags from a file in TOML; those given on the command line win
        json: print the outcome as JSON on standard output
        quiet: no progress on standard error
    """

    cohort = "off"  # an option of arl search only
    store: Annotated[str | None, RUNNING] = None
    workers: Annotated[int | None, RUNNING] = None
    executor: Annotated[str, RUNNING] = "local"
    gpus_per_worker: Annotated[float | None, RUNNING] = None
    device: Annotated[Literal["auto", "cpu", "cuda"], RUNNING] = "auto"
    exact: Annotated[bool, RUNNING] = False
    config: Annotated[str | None, RUNNING] = None
    json: Annotated[bool, RUNNING] = False
    quiet: Annotated[bool, RUNNING] = False


@dataclass(frozen=True)
class Seeded:
    """Whose random numbers.

    Attributes:
        seed: everything random follows from it
    """

    seed: Annotated[int, RUNNING] = 0


@dataclass(frozen=True)
class InFolder(Common):
    """What leaves its outcome in a run folder.

    Attributes:
        out: run folder (default: runs/NAME, NAME made of the settings)
    """

    out: Annotated[str | None, RUNNING] = None
