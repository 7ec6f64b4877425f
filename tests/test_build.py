"""What the build hook makes, and that an installation without a compiler is plain Python."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from autorobustloss.losses import kernel

ROOT = Path(__file__).parents[1]
BOUND = re.compile(r'^ +"([a-z0-9_-]+)>=([0-9.]+)[";]', re.MULTILINE)
PIN = re.compile(r"^([a-z0-9_-]+)==([0-9.]+)$", re.MULTILINE)


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
        assert "-linux" not in data["tag"]  # of which no index takes a wheel
    else:
        assert data == {"artifacts": [], "pure_python": True}


@pytest.mark.parametrize(
    ("platform", "asks", "tag"),
    [
        ("linux-x86_64", b"GLIBC_2.2.5 GLIBC_2.14", "manylinux_2_17_x86_64"),
        ("linux-x86_64", b"GLIBC_2.14 GLIBC_2.27 GLIBC_2.2.5", "manylinux_2_27_x86_64"),
        ("linux-aarch64", b"GLIBC_2.38 GLIBC_2.17", "manylinux_2_38_aarch64"),
        ("linux-x86_64", b"libc.musl-x86_64.so.1", "linux_x86_64"),
        ("macosx-11.0-arm64", b"", "macosx_11_0_arm64"),
    ],
)
def test_the_tag_names_the_oldest_glibc_that_has_all(build, tmp_path, monkeypatch, platform, asks, tag):
    monkeypatch.setattr("sysconfig.get_platform", lambda: platform)
    paths = [tmp_path / "libkernel.so", tmp_path / "libkernel-avx2.so"]
    paths[0].write_bytes(b"GLIBC_2.4" if b"GLIBC" in asks else b"")
    paths[1].write_bytes(asks)
    assert build.platform_tag(paths) == tag


def test_what_is_tested_as_the_oldest_is_what_is_allowed():
    bounds = dict(BOUND.findall((ROOT / "pyproject.toml").read_text()))
    pins = PIN.findall((ROOT / "constraints-oldest.txt").read_text())
    run_time = {"torch", "numpy", "scipy", "scikit-learn", "cmaes", "matplotlib", "rich", "tomli", "pillow", "optuna"}
    run_time |= {"cyclopts", "jinja2", "latex2mathml", "lazy_loader", "msgspec", "typing_extensions"}
    run_time |= {"cleanlab", "narwhals", "pyarrow", "pandas", "polars", "datasets"}
    assert {name for name, _ in pins} == run_time
    for name, version in pins:
        padded = f"{bounds[name]}.0.0".split(".")[:3]
        assert f"{version}.0".split(".")[:3] == padded, name
