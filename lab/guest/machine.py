# SPDX-License-Identifier: Apache-2.0
"""The guest as a process: qemu with the image, the disk with the checkout, a console, and no network.

Nothing that the guest writes outlasts it: both disks are snapshots. It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

from lab.guest.channel import Channel, GuestError, NoAnswer
from lab.guest.image import Image
from lab.guest.remote import Remote

SERIAL_PORTS = ("run", "lab")
_MEMORY = 3072
_BOOT = 900.0
"""Seconds that a guest may need to start: software emulation on a busy machine is slow."""
_TRY = (  # writes 0x31 to the port of isa-debug-exit, which ends qemu with status 0x31 * 2 + 1
    b"\xb0\x31\xe6\xf4\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa")
_TRIED = 0x31 * 2 + 1
_QEMU = "qemu-system-x86_64"
_BARE = ("-nodefaults", "-no-user-config", "-display", "none")


def _accelerator(name: str) -> list[str]:
    if name == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


def kvm_works() -> bool:
    """Run a few instructions with KVM: that /dev/kvm exists does not say that it works."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.NamedTemporaryFile() as disk:
        disk.write(_TRY)
        disk.flush()
        try:
            done = subprocess.run(
                [_QEMU, "-machine", "pc", *_accelerator("kvm"), *_BARE,
                 "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
                 "-drive", f"file={disk.name},format=raw,if=ide,snapshot=on"],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == _TRIED


class Machine:
    """`directory`, with a short path, takes sockets, the console's output and the snapshots."""

    def __init__(self, image: Image, install_disk: Path, directory: Path) -> None:
        self.image = image
        self.install_disk = install_disk
        self.directory = directory
        self.accelerator = "kvm" if kvm_works() else "tcg"
        self._process: subprocess.Popen | None = None
        self._channels: dict[str, Channel] = {}

    def start(self) -> None:
        """Start qemu; wait_up() waits for the guest."""
        argv = ["setpriv", "--pdeathsig", "KILL", _QEMU, "-machine", "q35", *_accelerator(self.accelerator),
                "-smp", "2", "-m", str(_MEMORY), *_BARE,
                "-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd),
                "-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off",
                "-serial", f"file:{self._console}",
                "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
        for disk in (self.image.root, self.install_disk):
            argv += ["-drive", f"file={disk},if=virtio,format=raw,snapshot=on,cache=unsafe"]
        for name in SERIAL_PORTS:
            argv += ["-chardev", f"socket,id={name},path={self._socket(name)},server=on,wait=off",
                     "-device", f"virtserialport,chardev={name},name=fip64.{name}"]
        with open(self.directory / "qemu.out", "wb") as output:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                             env={**os.environ, "TMPDIR": str(self.directory)})
        for name in SERIAL_PORTS:
            self._channels[name] = self._connect(name)

    @property
    def _console(self) -> Path:
        return self.directory / "console"

    def _socket(self, name: str) -> Path:
        return self.directory / f"{name}.sock"

    def _connect(self, name: str) -> Channel:
        deadline = time.monotonic() + 60
        while True:
            self._alive()
            try:
                return Channel(self._socket(name), self._alive)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _alive(self) -> None:
        """Raises: GuestError when qemu has ended, or the guest's kernel."""
        if self._process.poll() is not None:
            output = (self.directory / "qemu.out").read_text(errors="replace").strip()
            raise GuestError(f"qemu ended with status {self._process.returncode}: {output[-2000:]}\n"
                             f"{self.console_tail()}")
        if (console := self.console_tail()).count("Kernel panic"):
            raise GuestError(f"the guest's kernel panicked\n{console}")

    def console_tail(self, lines: int = 40) -> str:
        """Return the end of what the guest wrote to its console."""
        try:
            text = self._console.read_text(errors="replace")
        except OSError:
            return "the console is empty"
        return "\n".join(["the end of the guest's console:", *text.splitlines()[-lines:]])

    def wait_up(self, unlike: str | None = None) -> str:
        """Wait until the guest answers; returns the id of its boot, which is not `unlike`.

        Raises: GuestError with the end of the console.
        """
        deadline = time.monotonic() + _BOOT
        while time.monotonic() < deadline:
            with contextlib.suppress(NoAnswer):
                boot = self._channels["run"].call("boot", timeout=5)
                if boot != unlike:
                    return boot
            time.sleep(0.2)
        raise GuestError(f"the guest was not up after {_BOOT:g} s\n{self.console_tail()}")

    def run(self, *argv: str, check: bool = True, timeout: float = 300, input: str | None = None,
            cwd: str | None = None) -> subprocess.CompletedProcess:
        """Run a command there. Raises: GuestError when it fails and `check` is set, or does not end."""
        words = [str(word) for word in argv]
        try:
            answer = self._channels["run"].call("run", words, timeout, input, cwd, timeout=timeout + 60)
        except NoAnswer as error:
            raise GuestError(f"{' '.join(words)}: {error}\n{self.console_tail()}") from None
        done = subprocess.CompletedProcess(words, **answer)
        if check and done.returncode:
            raise GuestError(f"in the guest: {' '.join(words)}: exit status {done.returncode}: "
                             f"{done.stderr.strip() or done.stdout.strip()}")
        return done

    def remote(self) -> Remote:
        """Return the lab, which lab.guest.installed serves in the guest."""
        return Remote(self._call_lab)

    def _call_lab(self, method: str, *args, **kwargs):
        try:
            return self._channels["lab"].call(method, *args, **kwargs)
        except NoAnswer as error:
            raise GuestError(f"{error}\n{self.console_tail()}") from None

    def reboot(self) -> None:
        """Restart the guest, as an operator does, and wait until it answers again."""
        before = self.wait_up()
        with contextlib.suppress(GuestError):  # it may be gone before it can answer
            self.run("systemctl", "--no-block", "reboot", check=False, timeout=10)
        self.wait_up(unlike=before)

    def stop(self) -> None:
        """End it. What it wrote is gone."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
