# SPDX-License-Identifier: Apache-2.0
"""The README's commands: build without a warning, package, install, load what was installed."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab.shell import run
from lab.vpp import find
from tests.conftest import require_programs

SOURCE = Path(__file__).resolve().parents[3] / "vpp-plugin"


def build(directory: Path, *options: str) -> str:
    prefix = find().binary.parent.parent
    # One generation of processors is enough to see warnings.
    configured = run("cmake", "-B", str(directory), f"-DCMAKE_PREFIX_PATH={prefix}", "-DFIP64_WERROR=ON",
                     "-DVPP_BUILD_NATIVE_ONLY=ON", *options, str(SOURCE), timeout=120)
    built = run("cmake", "--build", str(directory), "-j2", timeout=280)
    return (configured.stdout + configured.stderr + built.stdout + built.stderr).lower()


@pytest.fixture(autouse=True)
def _programs(vpp):
    """Nothing here without VPP."""
    require_programs("cmake", "make")
    if not (find().binary.parent.parent / "include" / "vppinfra" / "clib.h").exists():
        pytest.skip("VPP's headers are not installed")


def test_package(tmp_path, make_vpp):
    require_programs("cc", "dpkg-deb")
    said = build(tmp_path / "build")
    assert "warning" not in said
    run("cpack", "--config", str(tmp_path / "build" / "CPackConfig.cmake"), "-B", str(tmp_path))
    (package,) = tmp_path.glob("*.deb")
    version = make_vpp().cli("show version verbose")
    control = run("dpkg-deb", "--field", str(package), "Package", "Depends").stdout
    assert "Package: vpp-plugin-fip64" in control
    depends = control.split("vpp (= ")[1].split(")")[0]
    assert depends in version
    run("dpkg-deb", "--extract", str(package), str(tmp_path / "root"))
    root = tmp_path / "root"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    (plugin,) = (name for name in files if name.endswith("/vpp_plugins/fip64_plugin.so"))
    assert files == {plugin, "usr/share/vpp/api/plugins/fip64.api.json",
                     "usr/share/doc/vpp-plugin-fip64/copyright", "usr/share/doc/vpp-plugin-fip64/README.rst"}
    installed = make_vpp(installed=replace(find(), plugin=root / plugin))
    assert "fip64_plugin.so" in installed.cli("show plugins")
    assert "tenants 0, mappings 0" in installed.cli("show fip64", check=True)


def test_clang(tmp_path):
    require_programs("clang")
    assert "warning" not in build(tmp_path / "build", "-DCMAKE_C_COMPILER=clang")


def _configure(directory: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Return (exit status, what CMake said in one line)."""
    prefix = find().binary.parent.parent
    command = ["cmake", "-B", str(directory), f"-DCMAKE_PREFIX_PATH={prefix}", "-DVPP_BUILD_NATIVE_ONLY=ON",
               *options, str(SOURCE)]
    done = subprocess.run(command, env=os.environ | environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120)
    return done.returncode, " ".join(done.stdout.split())


@pytest.fixture
def python_without_ply(tmp_path) -> Path:
    """A python3 that looks nowhere for modules but among its own."""
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n# asked for its path it says this one\n"
                       'if [ "$1" = -c ]; then echo "$0"; else exec /usr/bin/python3 -I -S "$@"; fi\n')
    program.chmod(0o755)
    return program


def test_a_python_without_ply_that_comes_first_is_passed_over(tmp_path, python_without_ply):
    require_programs("cc")
    build_directory, path = tmp_path / "build", f"{python_without_ply.parent}:{os.environ['PATH']}"
    status, said = _configure(build_directory, PATH=path)
    assert status == 0 and "runs with /usr/bin/python3" in said, said
    done = subprocess.run(["cmake", "--build", str(build_directory), "-j2"], env=os.environ | {"PATH": path},
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_python_with_ply_is_reported(tmp_path, python_without_ply):
    """Which one was tried, what it lacks, and how to get it; and no traceback."""
    status, said = _configure(tmp_path / "build", f"-DPYENV={python_without_ply}")
    assert status != 0 and "Traceback" not in said
    assert f"{python_without_ply}: ModuleNotFoundError: No module named 'ply'" in said
    assert "apt-get install python3-ply" in said and "-DPYENV=<path>" in said
    empty = tmp_path / "modules" / "ply" / "__init__.py"
    empty.parent.mkdir(parents=True)
    empty.touch()
    status, said = _configure(tmp_path / "all", PYTHONPATH=str(tmp_path / "modules"))
    assert status != 0 and "Traceback" not in said
    assert "/usr/bin/python3: ModuleNotFoundError: No module named 'ply.lex'" in said
    status, said = _configure(tmp_path / "none", "-DPYENV=/nonexistent/python3")
    assert status != 0 and "/nonexistent/python3: No such file or directory" in said


def test_an_unknown_version_is_reported(tmp_path):
    """With headers of a VPP that nobody has tried."""
    prefix = find().binary.parent.parent
    fake = tmp_path / "vpp"
    fake.mkdir()
    for entry in prefix.iterdir():
        if entry.name != "include":
            os.symlink(entry, fake / entry.name)
    (fake / "include" / "vpp" / "app").mkdir(parents=True)
    for entry in (prefix / "include").iterdir():
        if entry.name != "vpp":
            os.symlink(entry, fake / "include" / entry.name)
    (fake / "include" / "vpp" / "app" / "version.h").write_text('#define VPP_BUILD_VER "31.02-release"\n')
    done = run("cmake", "-B", str(tmp_path / "build"), f"-DCMAKE_PREFIX_PATH={fake}", str(SOURCE),
               timeout=120)
    said = " ".join(done.stderr.split())
    assert "VPP 31.02-release" in said and "is not known to work with the plugin (known: 26.06;26.10)" in said
