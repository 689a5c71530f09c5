# SPDX-License-Identifier: Apache-2.0
"""What the guest boots: Debian as the host's apt knows it, made once with debootstrap and kept.

Nothing of this project is in it; the checkout comes on a disk of its own (lab.guest.install_disk). An image
is kept under a digest of what it is made of, in $FIP64_HOST_CACHE, else in fip64agent/host of the user's
cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.guest import readme
from lab.screen import Screen
from lab.shell import run

PROGRAMS = ("debootstrap", "mke2fs", "qemu-system-x86_64")
INSTALL_DISK = "/install"
"""Where the guest mounts the disk with the checkout."""
_KEEP = 3
_SPARE = 2 << 30
_KERNELS = {"debian": "linux-image-amd64", "ubuntu": "linux-image-generic"}
_PACKAGES = (
    "systemd-sysv", "udev", "dbus", "kmod", "initramfs-tools", "zstd",
    # What the lab and `make demo` call.
    "make", "ethtool", "iputils-ping", "procps", "tcpdump",
    # Libraries of a VPP that is brought along.
    "libnl-3-200", "libnl-route-3-200", "libunwind8", "libelf1",
)
_FILES = {
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
    "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 0\n"
                 f"LABEL=install {INSTALL_DISK} ext4 defaults,noatime 0 0\n",
    # No network in there: pip finds what it needs on the disk with the checkout.
    "etc/pip.conf": f"[global]\nno-index = true\nfind-links = {INSTALL_DISK}/wheels\n"
                    "disable-pip-version-check = true\nroot-user-action = ignore\n",
    "etc/initramfs-tools/conf.d/guest": "MODULES=list\nCOMPRESS=zstd\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
    "etc/systemd/system/guest-serve.service": f"""\
[Unit]
Description=Carries out what the host asks for
RequiresMountsFor={INSTALL_DISK}

[Service]
WorkingDirectory={INSTALL_DISK}/checkout
ExecStart=/usr/bin/python3 -B -m lab.guest.serve
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
""",
}
_SETUP = """\
set -e
passwd -d root
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-timesyncd.service
systemctl enable guest-serve.service
# A service of tayga's package that the agent does not use (doc/source/operator/install.rst).
systemctl disable tayga || :
update-initramfs -u
apt-get clean
"""


class Unavailable(Exception):
    """What the guest is made of cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """Files to boot, and the version of Python that is in there ("3.11")."""

    directory: Path
    python: str

    @property
    def root(self) -> Path:
        return self.directory / "root.img"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd.img"


def cache() -> Path:
    named = os.environ.get("FIP64_HOST_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fip64agent" / "host"


def missing() -> str | None:
    """Return why no image can be made or booted here, or None when it can."""
    if os.geteuid():
        return "needs root: debootstrap makes a whole system"
    if os.uname().machine != "x86_64":
        return f"the guest is x86_64, this machine {os.uname().machine}"
    absent = [program for program in PROGRAMS if not shutil.which(program)]
    return f"not installed: {', '.join(absent)}" if absent else None


def _release() -> tuple[str, str]:
    """Distribution and code name of this machine ("debian", "bookworm"). Raises: Unavailable."""
    text = Path("/etc/os-release").read_text()
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    distribution, codename = (values.get(key, "").strip('"') for key in ("ID", "VERSION_CODENAME"))
    if distribution not in _KERNELS or not codename:
        raise Unavailable(f"this is {distribution or 'unknown'} {codename}, neither Debian nor Ubuntu")
    return distribution, codename


def _mirror(codename: str) -> str:
    """Return where this machine's own apt takes the release from. Raises: Unavailable."""
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)")
    for line in listed.stdout.splitlines():
        site, release, component, kind = line.split()
        if (release, component, kind) == (codename, "main", "Packages"):
            return site
    raise Unavailable(f"apt on this machine has no source for {codename} main")


def _proxy() -> dict[str, str]:
    """What debootstrap needs to go the way that apt goes."""
    found = run("apt-config", "shell", "proxy", "Acquire::http::Proxy", check=False).stdout.strip()
    value = found.partition("=")[2].strip("'")
    return {"http_proxy": value} if value else {}


def ensure(screen: Screen) -> Image:
    """Return the image, made now if it is not kept already. Raises: Unavailable."""
    distribution, codename = _release()
    mirror = _mirror(codename)
    packages = sorted({_KERNELS[distribution], *_PACKAGES, *readme.packages()})
    made_of = json.dumps([codename, mirror, packages, _FILES, _SETUP])
    name = f"{codename}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    directory = cache() / name
    with locked(cache()):
        kept = (directory / "python").exists()
        if not kept:
            screen.block([f"An image of {distribution} {codename} is made in {cache()}; this takes minutes."])
        with screen.step(f"image {name}") as step:
            if not kept:
                _build(directory, codename, mirror, packages)
            step.result = "kept from an earlier run" if kept else "made, and kept for the next run"
        os.utime(directory)
        forget_old(path.parent for path in cache().glob("*/python"))
    return Image(directory, (directory / "python").read_text().strip())


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Two runs at once make one of each."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def forget_old(directories: Iterable[Path]) -> None:
    """Keep those that were used last; checkouts of other versions may use one, too."""
    for old in sorted(directories, key=lambda path: path.stat().st_mtime)[:-_KEEP]:
        shutil.rmtree(old)


def _build(directory: Path, codename: str, mirror: str, packages: list[str]) -> None:
    for left in directory.parent.glob("build-*"):
        _remove(left)
    scratch = Path(tempfile.mkdtemp(prefix="build-", dir=directory.parent))
    try:
        root = scratch / "root"
        try:
            _call("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", codename, str(root),
                  mirror, environment=_proxy())
        except RuntimeError as error:
            raise Unavailable(str(error)) from None
        for name, text in _FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / INSTALL_DISK.lstrip("/")).mkdir()
        _call("chroot", str(root), "sh", "-c", _SETUP)
        image = scratch / "image"
        image.mkdir()
        for kind in ("vmlinuz", "initrd.img"):
            (found,) = (root / "boot").glob(f"{kind}-*")
            shutil.copy(found, image / kind)
        size = int(run("du", "-s", "-B1", str(root)).stdout.split()[0]) + _SPARE
        _call("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(image / "root.img"), f"{size >> 10}k")
        version = "import sys; print('%d.%d' % sys.version_info[:2])"
        (image / "python").write_text(run("chroot", str(root), "python3", "-c", version).stdout)
        image.rename(directory)
    finally:
        _remove(scratch)


def _remove(scratch: Path) -> None:
    """Remove a build, also one that was killed while debootstrap had /proc and /sys mounted in it."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([path for path in mounted if path.startswith(f"{scratch}/")]):
        run("umount", mount)
    shutil.rmtree(scratch)


def _call(*argv: str, environment: dict[str, str] | None = None) -> None:
    """`environment`: added to ours. Raises: RuntimeError with the end of the output."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=3600,
                          env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive",
                               **(environment or {})})
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise RuntimeError(f"{argv[0]} ended with status {done.returncode}:\n{tail}")
