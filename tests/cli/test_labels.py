"""A user's own labels are taken as they come; noise is added only where it is asked for, and said aloud."""

import json
import shlex

import numpy as np
import pytest

from autorobustloss.cli.main import main
from autorobustloss.losses.cards import load_card
from autorobustloss.runs.store import Store

TINY = ["--models=linear", "--epochs=2", "--workers=1", "--quiet"]
SEARCH = ["search", *TINY, "--generations=1", "--population=4", "--finalists-seeds=1", "--compare-seeds=0"]


def run(*arguments, capsys):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Own data in every form, in the current folder: 60 samples, 3 classes, a fifth of the labels wrong."""
    monkeypatch.chdir(tmp_path)
    rng, y = np.random.default_rng(0), np.arange(60) % 3
    noisy = np.where(np.arange(60) % 5 == 0, (y + 1) % 3, y)
    x = rng.normal(size=(60, 4)) + 3 * np.eye(3, 4)[y]
    test = {"x_test": x, "y_test": y}
    np.savez("plain.npz", x_train=x, y_train=noisy, **test)
    np.savez("beside.npz", x_train=x, y_train=y, y_train_noisy=noisy, **test)
    np.savez("noisy.npz", x_train=x, y_train_noisy=noisy, **test)
    np.savez("valid.npz", x_train=x, y_train=noisy, x_valid=x[:30], y_valid=y[:30], **test)
    np.savez("many.npz", x_train=np.tile(x, (2, 1)), y_train=np.arange(120) % 30, x_test=x, y_test=np.arange(60) % 30)
    image = pytest.importorskip("PIL.Image", reason="image folders need Pillow")
    for part in ("train", "test", "valid"):
        for c in "abc":
            place = tmp_path / "photos" / part / c
            place.mkdir(parents=True)
            for i in range(20):
                image.fromarray(rng.integers(0, 256, (8, 8)).astype(np.uint8)).save(place / f"{i}.png")
    root = tmp_path / "listed"
    root.mkdir()
    parts = ("train", "valid", "test")
    files = {part: [f"photos/{part}/{c}/{i}.png" for c in "abc" for i in range(20)] for part in parts}
    for part, list_name in (("train", "noisy_train"), ("valid", "clean_val"), ("test", "clean_test")):
        (root / f"{list_name}_key_list.txt").write_text("\n".join(files[part]))
    lines = {part: [f"{file} {'abc'.index(file.split('/')[2])}" for file in found] for part, found in files.items()}
    (root / "noisy_label_kv.txt").write_text("\n".join(lines["train"]))
    (root / "clean_label_kv.txt").write_text("\n".join([*lines["valid"], *lines["test"]]))
    (root / "photos").symlink_to(tmp_path / "photos")
    return tmp_path


OWN = ["./plain.npz", "./beside.npz", "./noisy.npz", "./valid.npz", "./photos", "./listed", "plain", "photos"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [*((name, []) for name in OWN), ("./valid.npz", ["--noise=given"]), ("photos", ["--noise=given"])],
)
def test_own_labels_are_taken_as_they_come_and_it_is_said(name, asked, folder, capsys):
    train = ["train", "--dataset", name, "--data-dir", ".", "--loss=ce,fw", *TINY, *asked]
    code, out, err = run(*train, "--json", capsys=capsys)
    assert code == 0, err
    entries = json.loads(out)
    assert {entry["job"]["task"]["noise"] for entry in entries} == {"given"}
    rate = entries[0]["result"]["noise_rate"]
    assert rate == pytest.approx(0.2, abs=0.05) if "beside" in name else rate is None
    known_clean = any(form in name for form in ("beside", "valid", "photos", "listed"))
    assert bool(entries[0]["result"]["history"]["valid_clean"]) == known_clean
    assert f"arl: {name}: labels as they come, no noise added" in err
    assert ("which of them are wrong is not known" in err) == ("beside" not in name)
    code, out, _ = run(*train, capsys=capsys)
    assert code == 0
    assert "nan" not in out
    assert ("unknown" in out) == ("beside" not in name)


@pytest.mark.parametrize("noise", ["sym:0.4", "pair:0.2", "idn:0.3", "matrix:[[0.8,0.2,0],[0,0.8,0.2],[0.2,0,0.8]]"])
def test_noise_is_added_to_own_labels_where_it_is_asked_for_and_said_aloud(noise, folder, capsys):
    code, out, err = run("train", "--dataset=./plain.npz", f"--noise={noise}", "--json", *TINY, capsys=capsys)
    assert code == 0, err
    assert json.loads(out)[0]["result"]["noise_rate"] > 0
    assert "arl: ./plain.npz: adds " in err
    assert "to its labels as they come, which count as right" in err
    assert ("40 % symmetric noise" in err) == (noise == "sym:0.4")
    if noise == "sym:0.4":
        code, _, err = run("train", "--dataset=./beside.npz", f"--noise={noise}", *TINY, capsys=capsys)
        assert code == 0
        assert "adds 40 % symmetric noise to its right labels, not its noisy ones" in err


@pytest.mark.parametrize("form", ["beside", "noisy"])
def test_a_benchmarks_file_that_comes_with_noisy_labels_is_ones_own(form, folder, capsys):
    (folder / f"{form}.npz").rename("mnist.npz")
    code, out, err = run("train", "--dataset=mnist", "--data-dir=.", "--json", *TINY, capsys=capsys)
    assert code == 0, err
    assert json.loads(out)[0]["job"]["task"]["noise"] == "given"
    assert "arl: mnist: labels as they come" in err


def test_what_cannot_be_said_stops_nothing(folder, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr.write", full)
    assert main(["train", "--dataset=./plain.npz", *TINY]) == 0


def test_clean_says_that_own_labels_are_right(folder, capsys):
    clean = "train", "--dataset=./plain.npz", "--noise=clean", *TINY
    code, out, err = run(*(word for word in clean if word != "--quiet"), capsys=capsys)
    assert code == 0
    assert "0.0 %" in out
    assert "which count as right (noise 'clean')" in err
    assert run(*clean, capsys=capsys)[2] == ""  # who says so and wants quiet knows
    for name in ("./noisy.npz", "./listed"):
        assert run("train", f"--dataset={name}", "--noise=clean", *TINY, capsys=capsys)[0] == 2


@pytest.mark.parametrize(
    ("command", "usual"),
    [(["train", "--loss=ce"], {"sym:0.4"}), (["bench", "--methods=ce", "--seeds=1"], {"clean", "sym:0.4", "sym:0.8"})],
)
def test_own_and_benchmark_data_in_one_command(command, usual, folder, capsys):
    store = folder / "s.sqlite"
    sizes = ["--train-size=40", "--valid-size=10"]
    only = ["--only=*/clean,*/sym*,*/given"] if command[0] == "bench" else []
    code, _, err = run(*command, "--dataset=digits,./plain.npz", "--store", store, *only, *TINY, *sizes, capsys=capsys)
    assert code == 0, err
    with Store(store) as opened:
        found = {(job.task.dataset.name, job.task.noise) for job, _ in opened.items()}
    assert found == {("./plain.npz", "given"), *(("digits", noise) for noise in usual)}
    assert "digits:" not in err


def test_a_benchmark_says_below_its_tables_what_the_labels_are(folder, capsys):
    bench = ["bench", "--methods=ce,sce", "--seeds=1", *TINY]
    code, out, err = run(*bench, "--dataset=./plain.npz", "--json", "--lr=0.3x,1x", capsys=capsys)
    assert code == 0, err
    for table in json.loads(out).values():
        assert any(note.startswith("./plain.npz: labels as they come") for note in table["notes"])
    code, out, _ = run(*bench, "--dataset=./valid.npz", capsys=capsys)
    assert code == 0
    assert "its validation and test labels count as right" in out


@pytest.mark.parametrize("name", ["./plain.npz", "./noisy.npz", "digits,./plain.npz"])
def test_a_search_without_clean_validation_labels_is_refused_with_what_to_run(name, folder, capsys):
    code, out, err = run(*SEARCH, f"--dataset={name}", "--valid-size=10", "--out=run", capsys=capsys)
    assert code == 2
    assert out == ""
    assert not (folder / "run").exists()
    assert err.endswith(f"  try: arl search --dataset {name} --fitness-on noisy --models linear\n")
    assert len(err.strip().splitlines()) == 2


def test_the_search_that_is_offered_in_place_of_a_refused_one_works(folder, capsys):
    """In the folder where it was refused, with the networks, labels and place of the data that were asked for."""
    short = [
        "--epochs=1",
        "--generations=1",
        "--population=4",
        "--finalists-seeds=1",
        "--compare-seeds=0",
        "--workers=1",
    ]
    for words in (["--dataset=./plain.npz"], ["--dataset=plain", "--data-dir=.", "--noise=given", "--models=linear"]):
        code, _, err = run("search", *words, capsys=capsys)
        assert code == 2
        offered = shlex.split(err.partition("(arl ")[2].partition(")")[0])
        code, _, err = run(*offered, *short, "--quiet", capsys=capsys)
        assert code == 0, err


@pytest.mark.parametrize("name", ["./noisy.npz", "digits,./plain.npz"])
def test_a_search_scores_on_noisy_validation_labels_and_says_so(name, folder, capsys):
    search = [*SEARCH, f"--dataset={name}", "--train-size=40", "--valid-size=10", "--fitness-on=noisy"]
    code, out, err = run(*search, "--out=run", capsys=capsys)
    assert code == 0, err
    assert "scored on noisy validation labels" in err
    assert "noisy validation accuracy on fresh noise" in out
    assert "clean validation" not in out + err
    with Store(folder / "run" / "store.sqlite") as store:
        assert {job.evaluate for job, _ in store.items()} == {("valid_noisy",)}
    assert load_card("run/loss.json").provenance["search"]["fitness_on"] == "noisy"
    assert json.loads((folder / "run" / "config.json").read_text())["fitness_on"] == "noisy"
    code, out, _ = run(*search, "--out=run", "--json", capsys=capsys)
    assert code == 0
    outcome = json.loads(out)
    assert outcome["fitness_on"] == "noisy"
    assert any("labels as they come" in line for line in outcome["labels"])


@pytest.mark.parametrize("name", ["./beside.npz", "./photos"])
def test_a_search_with_clean_validation_labels_needs_no_word(name, folder, capsys):
    code, out, err = run(*SEARCH, f"--dataset={name}", "--out=run", "--valid-size=10", capsys=capsys)
    assert code == 0, err
    assert "clean validation accuracy" in out
    assert "labels as they come" in err


def test_the_choice_may_stand_in_a_file(folder, capsys):
    (folder / "search.toml").write_text('dataset = "./plain.npz"\nfitness-on = "noisy"\n')
    assert run(*SEARCH, "--config=search.toml", "--out=run", capsys=capsys)[0] == 0
    assert run(*SEARCH, "--config=search.toml", "--out=other", "--fitness-on=clean", capsys=capsys)[0] == 2


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--loss=ce,jocor"],
        ["train", "--loss=fw(oracle=True)"],
        ["bench", "--methods=ce,jocor", "--out=run"],
        ["search", "--compare=jocor", "--fitness-on=noisy", "--out=run"],
        ["search", "--rivals=jocor", "--fitness=rank", "--fitness-on=noisy", "--out=run"],
    ],
    ids=" ".join,
)
def test_a_method_that_must_be_told_the_noise_is_refused_before_any_training(command, folder, capsys):
    code, out, err = run(*command, "--dataset=./plain.npz", *TINY, capsys=capsys)
    assert code == 2
    assert "data set './plain.npz': method 'jocor'" in err or "data set './plain.npz': method 'fw'" in err
    assert out == ""
    assert not (folder / "run").exists()


def test_a_loss_that_does_not_fit_the_classes_is_refused_before_another_trains(folder, capsys):
    for loss, says in (
        ("forward(T=[[1,0],[0,1]])", "3 classes"),
        ("taylor(theta=[0,0,0,0,1],scale='max')", "no scale"),
    ):
        code, out, err = run("train", "--dataset=./plain.npz", f"--loss=ce,{loss}", *TINY, capsys=capsys)
        assert (code, out) == (2, "")
        assert "data set './plain.npz': loss " in err
        assert says in err


def test_losses_have_their_authors_values_for_the_classes_of_own_data(folder, capsys):
    code, out, _ = run("train", "--dataset=./many.npz", "--loss=sce,sce(alpha=1),gce", *TINY, capsys=capsys)
    assert code == 0
    losses = [row.split("  ")[1].strip() for row in out.splitlines()[2:]]
    assert losses == ["sce(alpha=6, beta=0.1)", "sce(alpha=1)", "gce"]
    bench = ["bench", "--dataset=./many.npz", "--methods=sce,anl_ce,gce,gce_truncated", "--seeds=1", "--out=run", *TINY]
    code, out, _ = run(*bench, capsys=capsys)
    assert code == 0
    out = " ".join(out.split())
    assert "values: sce alpha=6, beta=0.1; anl_ce alpha=10, beta=1, p_min=1e-07, l1=5e-07; gce q=0.7" in out
    assert "gce_truncated trains as gce does" in out
    with Store(folder / "run" / "store.sqlite") as store:
        assert {job.method.label for job, _ in store.items()} == {
            "sce(alpha=6, beta=0.1)", "anl_ce(alpha=10, beta=1, l1=5e-07)", "gce", "gce_truncated",
        }  # fmt: skip
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["values"]["./many.npz"]["sce"] == "sce(alpha=6, beta=0.1)"
    assert "sce(alpha=6, beta=0.1)" in (folder / "run" / "report.html").read_text()


def test_methods_to_compare_a_search_with_may_be_of_any_kind(folder, capsys):
    """Procedures have no curve to draw, and a matched loss that of the loss."""
    search = [arg for arg in SEARCH if "compare" not in arg]
    methods = "sce,fw,gce(match_scale=True),anl_ce"
    code, out, err = run(
        *search,
        "--dataset=./many.npz",
        "--fitness-on=noisy",
        f"--compare={methods}",
        "--compare-seeds=1",
        "--out=run",
        capsys=capsys,
    )
    assert code == 0, err
    assert (folder / "run" / "picture.png").exists()
    assert "values: sce alpha=6, beta=0.1; fw outlier_filter=False, checkpoint=loss; " in out
    assert "gce(match_scale=True) q=0.7; anl_ce alpha=10, beta=1, p_min=1e-07, l1=5e-07" in " ".join(out.split())


def test_a_penalty_is_a_flag_too(folder, capsys):
    code, out, _ = run("train", "--dataset=./plain.npz", "--l1=0.01", "--json", *TINY, capsys=capsys)
    assert code == 0
    assert json.loads(out)[0]["job"]["task"]["protocol"]["l1"] == 0.01
    assert run("train", "--dataset=./plain.npz", "--l1=-1", *TINY, capsys=capsys)[0] == 2
    assert run("bench", "table1", "--l1=0.1", capsys=capsys)[0] == 2


@pytest.mark.parametrize("command", ["train", "bench", "search"])
def test_help_says_what_happens_to_labels(command, capsys):
    assert main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "given (the labels as they come, noisy or not)" in text
    assert "(default: given for data of your own" in text


def test_parts_in_different_units_are_one_line_without_code(folder, capsys):
    with np.load("plain.npz") as arrays:
        np.savez("units.npz", **{**arrays, "x_test": 255 * arrays["x_test"]})
    code, _, err = run("train", "--dataset=./units.npz", "--loss=ce", "--noise=given", *TINY, capsys=capsys)
    assert code == 0
    assert [line[:55] for line in err.splitlines() if "ranges" in line] == [
        "arl: warning: units.npz: x_test and x_train are in diff"
    ]
    assert "DataWarning" not in err
