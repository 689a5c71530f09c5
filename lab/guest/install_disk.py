# SPDX-License-Identifier: Apache-2.0
"""The disk that comes with the guest: this checkout, the wheels that pip needs there, and VPP."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from lab import vpp
from lab.guest.image import Unavailable, cache, forget_old, locked
from lab.node import REPOSITORY
from lab.screen import Screen
from lab.shell import run

LABEL = "install"
_NOT_OURS = (".venv", ".git", "__pycache__", ".pytest_cache", ".ruff_cache", "build")
_SPARE = 512 << 20


def make(path: Path, python: str, translator: str, screen: Screen) -> None:
    """Make the disk at `path` for a guest with this version of Python. Raises: Unavailable."""
    wheels = _ensure_wheels(python, screen)
    with (screen.step("disk with this checkout") as step,
          tempfile.TemporaryDirectory(dir=path.parent) as scratch):
        root = Path(scratch)
        step.result = f"{_copy_checkout(root / 'checkout')} files"
        shutil.copytree(wheels, root / "wheels")
        if translator == "vpp":
            step.result += f", VPP from {_copy_vpp(root / 'vpp')}"
        size = int(run("du", "-s", "-B1", str(root)).stdout.split()[0]) * 5 // 4 + _SPARE
        run("mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-d", str(root), str(path), f"{size >> 10}k",
            timeout=600)


def _copy_checkout(target: Path) -> int:
    """Copy what git knows or would add, as it stands; all of it where there is no git. Returns the count."""
    target.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        shutil.copytree(REPOSITORY, target, dirs_exist_ok=True, symlinks=True,
                        ignore=shutil.ignore_patterns(*_NOT_OURS))
        return sum(path.is_file() for path in target.rglob("*"))
    names = [name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).exists()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target / name, follow_symlinks=False)
    return len(names)


def _copy_vpp(target: Path) -> Path:
    """Copy the installation that lab.vpp finds, with the plugin in its place; returns its prefix."""
    installed = vpp.find()
    if installed is None or installed.plugin is None:
        raise Unavailable(missing("vpp") or "no VPP")
    prefix = vpp_prefix()
    shutil.copytree(prefix, target, symlinks=True,
                    ignore=shutil.ignore_patterns("include", "*.a", "*.pc", "vpp_api_test_plugins"))
    plugins = target / installed.own_plugins.relative_to(prefix)
    shutil.copy2(installed.plugin, plugins / vpp.PLUGIN)
    return prefix


def missing(translator: str) -> str | None:
    """Return why there can be no guest with this translator, or None when there can."""
    if translator == "vpp" and not os.environ.get("FIP64_VPP_PREFIX"):
        return "FIP64_VPP_PREFIX is not set: VPP goes into the guest as a directory of its own"
    return vpp.missing() if translator == "vpp" else None


def vpp_prefix() -> Path:
    """Return where VPP is installed, on the host and in the guest."""
    return vpp.find().binary.parent.parent


def _requirements() -> list[str]:
    """Return what pip will look for in the guest: to build, to run, and for `make demo`."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return [*project["build-system"]["requires"], "wheel", *project["project"]["dependencies"],
            *project["project"]["optional-dependencies"]["test"]]


def _interpreter(version: str) -> str:
    """Return a Python of this version: wheels are made for one. Raises: Unavailable."""
    for candidate in (sys.executable, f"python{version}", "/usr/bin/python3"):
        found = shutil.which(candidate)
        check = f"import sys, venv; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
        if found and run(found, "-c", check, check=False).returncode == 0:
            return found
    raise Unavailable(f"no Python {version}, the guest's version, on this machine to make wheels with")


def _ensure_wheels(python: str, screen: Screen) -> Path:
    """Return a directory of wheels, fetched and built now if it is not kept already. Raises: Unavailable."""
    wanted = _requirements()
    digest = hashlib.sha256(json.dumps([python, wanted]).encode()).hexdigest()[:16]
    directory = cache() / f"wheels-{python}-{digest}"
    with locked(cache()), screen.step(f"wheels for Python {python}") as step:
        kept = directory.exists()
        if not kept:
            _make_wheels(directory, _interpreter(python), wanted)
        count = len(list(directory.iterdir()))
        step.result = f"{count}, kept from an earlier run" if kept else f"{count}, kept for the next run"
        os.utime(directory)
        forget_old(cache().glob("wheels-*"))
    return directory


def _make_wheels(directory: Path, interpreter: str, wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        tool = Path(scratch) / "venv"
        run(interpreter, "-m", "venv", str(tool), timeout=600)
        done = run(str(tool / "bin" / "pip"), "wheel", "-q", "--disable-pip-version-check", "-w",
                   f"{scratch}/wheels", *wanted, check=False, timeout=1800)
        if done.returncode:
            raise Unavailable(f"pip wheel: {done.stderr.strip()[-1500:]}")
        os.rename(f"{scratch}/wheels", directory)
