"""What a release says of itself agrees: version, citation, notice, workflows; and what is in its files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

import autorobustloss
from autorobustloss.cli.main import main

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_stands_in_one_place(capsys):
    version = autorobustloss.__version__
    assert VERSION.fullmatch(version)
    assert "version" not in PROJECT["project"]
    assert ROOT / PROJECT["tool"]["hatch"]["version"]["path"] == ROOT / "src/autorobustloss/__init__.py"
    assert re.search(r"^version: (.*)$", text("CITATION.cff"), re.MULTILINE)[1] == version
    assert re.search(r"^## (\S+) – ", text("CHANGELOG.md"), re.MULTILINE)[1] == version
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"arl {version}\n"


def test_the_changelog_has_its_sections_and_says_when():
    for heading in re.findall(r"^## (.*)$", text("CHANGELOG.md"), re.MULTILINE):
        version, _, when = heading.partition(" – ")
        assert VERSION.fullmatch(version)
        assert when == "not released yet" or re.fullmatch(r"\d{4}-\d\d-\d\d", when)
    sections = re.findall(r"^### (\w+)$", text("CHANGELOG.md"), re.MULTILINE)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_workflows_run_every_python_that_is_promised_on_actions_pinned_by_major():
    promised = {c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)}
    tests = text(".github/workflows/tests.yml")
    matrix = set(re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", tests)[1]))
    oldest = set(re.findall(r'python: "(3\.\d+)", torch: oldest', tests))
    assert promised == matrix == oldest
    assert f">={min(promised, key=lambda v: int(v[2:]))}" == PROJECT["project"]["requires-python"]
    for system in ("ubuntu", "macos", "windows"):
        assert f"{system}-latest" in tests
    for workflow in WORKFLOWS:
        used = re.findall(r"uses: (\S+)", workflow.read_text(encoding="utf-8"))
        assert used
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v\d+", u) for u in used)
        for script in re.findall(r"(?<=[\s(])\.ci/[\w-]+", workflow.read_text(encoding="utf-8")):
            assert (ROOT / script).exists(), f"{workflow.name}: {script}"


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))),
        ("github-issue-config", [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_for_others_follow_their_schemas(schema, files):
    if not find_spec("check_jsonschema"):
        pytest.skip("check-jsonschema is in the extra dev")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notice_names_what_tests_compare_with():
    notice, sources = text("NOTICE"), set()
    for file in (ROOT / "tests" / "golden").glob("*.json"):
        sources |= set(re.findall(r"\b[A-Za-z]+/[A-Za-z-]+\b(?= |\"|,|\))", file.read_text(encoding="utf-8")[:400]))
    known = {s for s in sources if s.split("/")[0] in ("google", "HanxunH", "AlanChou", "giorgiop", "hongxin001")}
    assert known
    assert all(source in notice for source in known)


@pytest.fixture
def built() -> Path:
    folder = os.environ.get("ARL_BUILT")
    if not folder:
        pytest.skip("set ARL_BUILT to the folder of a wheel and an sdist, as .ci/packages does")
    return Path(folder)


def committed(under: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", under], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_wheel_has_all_of_the_package_and_nothing_else(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        meta = next(name for name in names if name.endswith(".dist-info/METADATA"))
        about = Parser().parsestr(wheel.read(meta).decode())
    home = meta.rpartition("/")[0]
    package = {name.removeprefix("src/") for name in committed("src/autorobustloss")}
    compiled = {name for name in names if re.fullmatch(r"autorobustloss/losses/libkernel[\w-]*\.so", name)}
    told = {f"{home}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    assert names == package | compiled | told | {f"{home}/licenses/LICENSE", f"{home}/licenses/NOTICE"}
    assert "autorobustloss/py.typed" in names
    assert about["Version"] == autorobustloss.__version__
    assert about.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert path.stat().st_size < 1e6


def test_the_sdist_has_what_builds_and_tests_it_and_is_small(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"pyproject.toml", "hatch_build.py", "LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CITATION.cff"}
    assert wanted | committed("src") | committed("tests") <= names
    assert not {name for name in names if name.startswith((".ci", ".github")) or name.endswith((".xz", ".so", ".pyc"))}
    assert path.stat().st_size < 3e6
