# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch for a lab: one of our own (database, run directory, namespace), or the machine's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from lab.shell import inside, run

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class PrivateOvs:
    """ovsdb-server and ovs-vswitchd (userspace datapath) under `directory`.

    `dummy`: the dummy datapath, for tests that need no packets and no root networking.
    Use as a context manager, or call start() and stop().
    """

    def __init__(self, directory: Path | str, netns: str | None = None, dummy: bool = False) -> None:
        self.directory = Path(directory)
        self.netns = netns
        self.dummy = dummy
        self.db = f"unix:{self.directory}/db.sock"
        self._server: subprocess.Popen | None = None
        self._vswitchd: subprocess.Popen | None = None

    @property
    def datapath_type(self) -> str:
        """Of its bridges: "netdev" is in userspace, "dummy" a simulation."""
        return "dummy" if self.dummy else "netdev"

    def __enter__(self) -> PrivateOvs:
        self.start()
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def start(self) -> None:
        """Start both daemons. Raises: RuntimeError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.directory / "conf.db").exists():
            run("ovsdb-tool", "create", str(self.directory / "conf.db"), str(SCHEMA))
        self.start_ovsdb()
        self.vsctl("--no-wait", "init")
        self.start_vswitchd()

    def _spawn(self, name: str, argv: list[str], netns: str | None) -> subprocess.Popen:
        log = open(self.directory / f"{name}.out", "ab")  # noqa: SIM115 (handed to the child)
        with log:
            return subprocess.Popen(
                inside(netns, argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
                env={**os.environ, "OVS_RUNDIR": str(self.directory), "OVS_DBDIR": str(self.directory)})

    def start_ovsdb(self) -> None:
        """Start ovsdb-server, with an empty database the first time. Raises: RuntimeError."""
        with contextlib.suppress(FileNotFoundError):
            (self.directory / "db.sock").unlink()
        self._server = self._spawn("ovsdb-server", [
            "ovsdb-server", str(self.directory / "conf.db"), f"--remote=p{self.db}",
            f"--unixctl={self.directory}/ovsdb-server.ctl",
            f"--pidfile={self.directory}/ovsdb-server.pid", "-vconsole:warn"], None)
        # Its socket is there a moment before it listens.
        self._wait(lambda: run("ovsdb-client", "list-dbs", self.db, check=False).returncode == 0,
                   "ovsdb-server")

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd. Raises: RuntimeError."""
        ctl = self.directory / "ovs-vswitchd.ctl"
        self._vswitchd = self._spawn("ovs-vswitchd", [
            "ovs-vswitchd", self.db, f"--unixctl={ctl}", "-vconsole:warn",
            f"--pidfile={self.directory}/ovs-vswitchd.pid",
            *(["--enable-dummy", "--disable-system"] if self.dummy else [])], self.netns)
        self._wait(lambda: ctl.exists() and self.appctl("version", check=False).returncode == 0,
                   "ovs-vswitchd")

    def _wait(self, condition, what: str, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                output = (self.directory / f"{what}.out").read_text(errors="replace")
                raise RuntimeError(f"{what} did not start in {seconds} s: {output[-2000:]}")
            time.sleep(0.02)

    @staticmethod
    def _end(process: subprocess.Popen | None, number: int) -> None:
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_vswitchd(self, number: int = signal.SIGTERM) -> None:
        """End ovs-vswitchd by a signal."""
        self._end(self._vswitchd, number)

    def stop_ovsdb(self, number: int = signal.SIGTERM) -> None:
        """End ovsdb-server by a signal."""
        self._end(self._server, number)

    def stop(self) -> None:
        """End both daemons."""
        self.stop_vswitchd()
        self.stop_ovsdb()

    def restart_vswitchd(self, number: int = signal.SIGTERM) -> None:
        """End ovs-vswitchd by a signal and start it again."""
        self.stop_vswitchd(number)
        self.start_vswitchd()

    def restart_ovsdb(self, number: int = signal.SIGTERM) -> None:
        """End ovsdb-server by a signal and start it again."""
        self.stop_ovsdb(number)
        self.start_ovsdb()

    def vsctl(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run ovs-vsctl."""
        return run("ovs-vsctl", f"--db={self.db}", "--timeout=30", *argv, check=check)

    def appctl(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run ovs-appctl for ovs-vswitchd."""
        return run("ovs-appctl", "-t", str(self.directory / "ovs-vswitchd.ctl"), *argv, check=check)

    def ofctl(self, command: str, bridge: str, *argv: str, check: bool = True,
              input: str | None = None) -> subprocess.CompletedProcess:
        """Run ``ovs-ofctl -O OpenFlow13 COMMAND`` on a bridge."""
        return run("ovs-ofctl", "-O", "OpenFlow13", command, f"unix:{self.directory}/{bridge}.mgmt",
                   *argv, check=check, input=input)

    def add_bridge(self, name: str, *settings: str) -> None:
        """Add a bridge; settings: of ovs-vsctl, ``fail_mode=secure`` for instance."""
        self.vsctl("--may-exist", "add-br", name, "--", "set", "bridge", name,
                   f"datapath_type={self.datapath_type}", *settings)


class SystemOvs:
    """The machine's running Open vSwitch, in the namespace we are in. Only our own bridges are touched."""

    netns = None

    def __init__(self, directory: Path | str | None = None) -> None:
        self.directory = Path(directory or os.environ.get("OVS_RUNDIR") or "/var/run/openvswitch")
        self.db = f"unix:{self.directory}/db.sock"
        self.datapath_type = "system"
        self._bridges: list[str] = []

    @property
    def running(self) -> bool:
        """Both daemons answer."""
        return ((self.directory / "db.sock").is_socket()
                and self.appctl("version", check=False).returncode == 0)

    def start(self) -> None:
        """Raises: RuntimeError when it does not run; we do not start what is not ours."""
        if not self.running:
            raise RuntimeError(f"no Open vSwitch answers in {self.directory}")

    def stop(self) -> None:
        while self._bridges:
            self.vsctl("--if-exists", "del-br", self._bridges.pop(), check=False)

    def vsctl(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run ovs-vsctl."""
        return run("ovs-vsctl", f"--db={self.db}", "--timeout=30", *argv, check=check)

    def appctl(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run ovs-appctl for ovs-vswitchd."""
        try:
            pid = (self.directory / "ovs-vswitchd.pid").read_text().strip()
        except OSError:
            pid = "none"
        return run("ovs-appctl", "-t", str(self.directory / f"ovs-vswitchd.{pid}.ctl"), *argv, check=check)

    ofctl = PrivateOvs.ofctl

    def add_bridge(self, name: str, *settings: str) -> None:
        """Make a bridge; in userspace when the kernel has no Open vSwitch module. Raises: RuntimeError."""
        if self.vsctl("br-exists", name, check=False).returncode == 0:
            raise RuntimeError(f"bridge {name} exists already on this machine: not ours, so it is left alone")
        self._bridges.append(name)
        for self.datapath_type in ("system", "netdev"):
            self.vsctl("--may-exist", "add-br", name, "--", "set", "bridge", name,
                       f"datapath_type={self.datapath_type}", *settings)
            if self.vsctl("get", "Interface", name, "ofport").stdout.strip().isdigit():
                return
        error = self.vsctl("get", "Interface", name, "error").stdout.strip()
        raise RuntimeError(f"Open vSwitch cannot open the bridge {name}: {error}")
