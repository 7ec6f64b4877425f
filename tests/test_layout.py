"""The layout that DESIGN promises: a level imports itself and lower levels only, and importing costs little."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autorobustloss

PACKAGE = Path(autorobustloss.__file__).parent
LEVELS = {
    "columns": 0, "errors": 0, "escape": 0, "reading": 0, "registry": 0, "seeding": 0, "signatures": 0,
    "losses": 1, "noise": 1, "data": 1, "models": 1,
    "training": 2, "methods": 3, "runs": 4, "search": 5, "benchmark": 5, "labels": 5, "paper": 6,
    "report": 7, "integrations": 7, "cli": 8,
}  # fmt: skip
NEVER_EACH_OTHER = {("search", "benchmark"), ("benchmark", "search")}
OPTIONAL = {"torchvision", "PIL", "ray", "optuna", "skorch", "lightning", "transformers"}
OPTIONAL |= {"narwhals", "pyarrow", "pandas", "polars", "datasets", "cleanlab", "accelerate", "keras", "jax"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> list[tuple[str, bool]]:
    """Return (module, at top level) of every import in a file that runs (not those for type checkers only)."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.dump(guard.test)
        for node in ast.walk(guard)
    }
    found = []
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.append((node.module or "", id(node) in top))
            if node.module == "autorobustloss":
                found += [(f"autorobustloss.{alias.name}", id(node) in top) for alias in node.names]
    return found


def part(module: str) -> str | None:
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "autorobustloss" and len(pieces) > 1 and pieces[1] in LEVELS else None


def test_the_map_has_every_folder_at_its_level():
    page = (Path(__file__).parents[1] / "docs" / "internals.md").read_text(encoding="utf-8")
    drawn = {}
    for level, row in re.findall(r"^(\d)   (.*)$", page, re.M):
        for word in row.split():
            if word in LEVELS:
                drawn.setdefault(word, int(level))
    assert drawn == LEVELS


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_down(file):
    relative = file.relative_to(PACKAGE)
    if relative.parts == ("__init__.py",) or relative.parts == ("__main__.py",):
        return
    own = relative.parts[0].removesuffix(".py")
    assert own in LEVELS, f"{relative} belongs to no level"
    for module, _ in imported(file):
        other = part(module)
        if other is not None:
            assert LEVELS[other] <= LEVELS[own], f"{relative} (level {LEVELS[own]}) imports {module}"
            assert (own, other) not in NEVER_EACH_OTHER, f"{relative} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_optional_packages_are_imported_where_used(file):
    for module, at_top in imported(file):
        assert not (at_top and module.split(".")[0] in OPTIONAL), f"{file} imports {module} at the top"


def graph() -> dict[str, set[str]]:
    """Return what each module imports of the package: also for type checkers, in functions, and by a lazy name."""
    parts = {file: file.relative_to(PACKAGE.parent).with_suffix("").parts for file in FILES}
    modules = {".".join(names).removesuffix(".__init__"): file for file, names in parts.items()}
    lazy = {}
    for stub in PACKAGE.rglob("__init__.pyi"):
        home = ".".join(stub.parent.relative_to(PACKAGE.parent).parts)
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                lazy.update({(home, alias.name): f"{home}.{node.module}" for alias in node.names})

    def found(module: str, name: str) -> str:
        if f"{module}.{name}" in modules:
            return f"{module}.{name}"
        return found(lazy[module, name], name) if (module, name) in lazy else module

    edges = {}
    for module, file in modules.items():
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        of = {found(n.module or "", a.name) for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names}
        edges[module] = {name for name in plain | of if name in modules and name != module}
    return edges


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, none if there is no circle."""
    left = dict(edges)
    while free := [module for module, imports in left.items() if not imports & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert circle(graph()) == []


def test_import_is_light_and_configures_nothing():
    code = """
import sys, time, torch
threads, state = torch.get_num_threads(), torch.random.get_rng_state()
start = time.perf_counter()
import autorobustloss
took = time.perf_counter() - start
assert threads == torch.get_num_threads() and torch.equal(state, torch.random.get_rng_state())
heavy = {"matplotlib", "sklearn", "scipy", "cmaes", "rich", "pandas"} & set(sys.modules)
assert not heavy, heavy
autorobustloss.create_loss  # a public name, found lazily
assert "matplotlib" not in sys.modules and "sklearn" not in sys.modules
print(took)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists():
    for name in autorobustloss.__all__:
        assert getattr(autorobustloss, name) is not None
    assert set(autorobustloss.__all__) <= set(dir(autorobustloss))


def test_no_lazy_name_hides_behind_a_module_of_the_same_name():
    for stub in PACKAGE.rglob("__init__.pyi"):
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {alias.name for alias in node.names}
                shadowing = names & {path.stem for path in stub.parent.iterdir()}
                assert shadowing <= {"search"}, f"{stub}: importing it gives a module"  # which is a test of its own


def test_names_are_known_without_importing_anything():
    code = """
import sys
from autorobustloss.registry import DATASETS, LOSSES, METHODS, MODELS
assert {"gce", "arl", "bootstrap"} <= {name for name in (*LOSSES, "bootstrap") if name in LOSSES}
assert "jocor" in METHODS and "cnn4" in MODELS and "digits" in DATASETS
assert LOSSES.about("gce").startswith("Generalised cross-entropy")
assert not {"torch", "numpy"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
