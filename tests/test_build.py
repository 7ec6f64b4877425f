"""What the build hook makes, and that an installation without a compiler is plain Python."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from autorobustloss.losses import kernel

ROOT = Path(__file__).parents[1]


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path):
    return Path(shutil.copy(kernel.SOURCE, tmp_path))


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.skipif(not kernel.available(), reason="no C compiler when the package was installed")
def test_what_is_made_is_what_is_loaded(build, source, monkeypatch):
    made = build.compile_kernel(source)
    assert "libkernel.so" in {path.name for path in made}
    assert names(source.parent) == {source.name, *(path.name for path in made)}
    monkeypatch.setattr(kernel, "SOURCE", source)
    assert kernel._library("libkernel.so") is not None


@pytest.mark.parametrize("command", ["no-such-compiler", "false"])
def test_without_a_compiler_nothing_is_left(build, source, monkeypatch, capsys, command):
    source.with_name("libkernel.so").write_bytes(b"of an earlier build")
    monkeypatch.setenv("CC", command)
    assert build.compile_kernel(source) == []
    assert names(source.parent) == {source.name}
    assert "PyTorch takes its place" in capsys.readouterr().err


@pytest.mark.parametrize("made", [["libkernel.so"], []])
def test_a_wheel_with_a_library_is_for_this_platform(build, monkeypatch, made):
    monkeypatch.setattr(build, "compile_kernel", lambda source: [kernel.SOURCE.with_name(name) for name in made])
    hook = object.__new__(build.KernelHook)
    monkeypatch.setattr(build.KernelHook, "root", str(ROOT))
    data = {"artifacts": [], "pure_python": True}
    hook.initialize("standard", data)
    if made:
        assert data["artifacts"] == ["src/autorobustloss/losses/libkernel.so"]
        assert not data["pure_python"]
        assert data["tag"].startswith("py3-none-")
        assert sys.platform.split("1")[0][:3] in data["tag"] or "macos" in data["tag"]
    else:
        assert data == {"artifacts": [], "pure_python": True}
