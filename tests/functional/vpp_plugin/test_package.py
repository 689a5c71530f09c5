# SPDX-License-Identifier: Apache-2.0
"""The README's commands: build without a warning, package, install, load what was installed."""

from __future__ import annotations

import os
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


def test_an_unknown_version_is_told(tmp_path):
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
