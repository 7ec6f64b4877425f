"""The command line is there at once: help and the list of losses need no PyTorch, and say what there is."""

import inspect
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from importlib import import_module

import pytest

from autorobustloss.benchmark.render import RENDERERS
from autorobustloss.cli.app import COMMANDS
from autorobustloss.cli.main import main, parse
from autorobustloss.cli.options.search import SearchOptions
from autorobustloss.paper.effort import EFFORTS
from autorobustloss.paper.experiments import EXPERIMENTS
from autorobustloss.registry import LOSSES, MODELS
from autorobustloss.search import GatedSpace, SearchConfig, Space
from autorobustloss.search.fitness import FITNESS
from autorobustloss.search.settings import SearchSettings
from autorobustloss.training.protocol import PRESETS

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib")


def help_of(command, capsys):
    assert main([command, "--help"]) == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    "words",
    [
        *["", "--help", "--version", *(f"{name} --help" for name in COMMANDS), "sarch"],
        *["losses list", "list methods", "list noises", "list datasets --json", "list protocols", "completion bash"],
    ],
)
def test_nothing_slow_is_imported(words):
    code = (
        "import sys; from autorobustloss.cli.main import main; code = main(sys.argv[1:]); "
        f"print(*sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == ""


def test_losses_are_listed_as_they_are():
    written = LOSSES.written()
    assert list(written) == LOSSES.names()
    for name, parameters in written.items():
        real = {k: None if d is inspect.Parameter.empty else d for k, d in LOSSES.parameters(name).items()}
        shown = real if parameters else {}
        if "label_smoothing" not in real:  # inherited as the files have it, but refused; no list shows it
            parameters.pop("label_smoothing", None)
        assert parameters == {k: v for k, v in shown.items() if k in parameters}
        assert set(real) - set(parameters) <= {"weight", "ignore_index", "reduction", "label_smoothing"}
        assert LOSSES.about(name)


def test_help_names_what_there_is(capsys):
    search, bench = help_of("search", capsys), help_of("bench", capsys)
    for name in (*MODELS, *PRESETS, *FITNESS):
        assert f"{name}," in search or f"{name} " in search or f"{name}]" in search
    spaces = search[search.index("--log-unit") : search.index("--rivals")]
    for default in (Space.log_unit, Space.scale, f"{Space.order}, gated {GatedSpace.order}", GatedSpace.default_start):
        assert f"{default})" in spaces
    assert f"[choices: {', '.join(sorted(RENDERERS))}]" in bench
    for name in (*EFFORTS, *(name for name in EXPERIMENTS if name not in ("table2", "table3", "table4"))):
        assert name in bench


def test_options_of_a_search_are_settings_of_its_configuration():
    for field in fields(SearchSettings):
        assert field.default == getattr(SearchConfig, field.name) == getattr(SearchOptions(), field.name)
    assert SearchOptions().space == Space.name


def test_commands_are_listed_by_the_first_line_of_their_page():
    for name, about in COMMANDS.items():
        assert import_module(f"autorobustloss.cli.commands.{name}").__doc__.splitlines()[0] == about


def test_alone_it_says_what_to_do_first(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 4 <= len(lines) <= 6
    assert max(map(len, lines)) <= 100
    for said in ('arl.create_loss("arl")', "arl bench", "arl labels", "arl search", "arl --help"):
        assert sum(said in line for line in lines) == 1
    for line in lines[2:]:
        command = line.partition("  arl ")[2]
        assert command
        parse(command.split())


COMPLETE = """
eval "$1"
COMP_WORDS=(arl $2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
_arl
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_takes_its_script_and_completes_with_it(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    for words, expected in (
        ("sea", {"search"}),
        ("losses exp", {"export"}),
        ("search --fitness", {"--fitness", "--fitness-on"}),
        ("train --device c", {"cpu", "cuda"}),
        ("list m", {"methods", "models"}),
    ):
        done = subprocess.run(["bash", "-c", COMPLETE, "bash", script, words], capture_output=True, text=True)
        assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "fitness-on" in capsys.readouterr().out


def test_completion_is_installed_for_a_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["--install-completion", "--shell", "fish"]) == 0
    file = capsys.readouterr().out.strip()
    assert file.startswith(str(tmp_path))
    with open(file) as script:
        assert "fitness-on" in script.read()
    if os.name == "posix":
        assert main(["--install-completion", "--shell=zsch"]) == 2
        assert "did you mean 'zsh'" in capsys.readouterr().err
