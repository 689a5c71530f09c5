# SPDX-License-Identifier: Apache-2.0
"""A VPP for a lab: found on the machine, started in a directory of its own, ended by its process id.

Where VPP is: `vpp` in $FIP64_VPP_PREFIX/bin, else in PATH. Where the fip64 plugin is: $FIP64_VPP_PLUGIN_PATH
(a directory), else what was built in vpp-plugin/build, else VPP's own plugin directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.shell import inside, run

PLUGIN = "fip64_plugin.so"
PLUGINS = (PLUGIN, "af_packet_plugin.so", "ping_plugin.so")
"""Loaded unless a test says otherwise; every other plugin only costs time."""
_BUILD = Path(__file__).resolve().parent.parent / "vpp-plugin" / "build"


@dataclass(frozen=True, slots=True)
class Installed:
    """What was found on this machine."""

    binary: Path
    vppctl: Path
    own_plugins: Path
    """VPP's own plugin directory."""
    plugin: Path | None
    """The fip64 plugin; None: not found."""

    @property
    def plugin_path(self) -> str:
        """For ``plugins { path ... }``: ours first, it wins over one of the same name."""
        directories = [self.own_plugins] if self.plugin is None else [self.plugin.parent, self.own_plugins]
        return ":".join(dict.fromkeys(map(str, directories)))


def _binary(name: str) -> Path | None:
    prefix = os.environ.get("FIP64_VPP_PREFIX")
    found = shutil.which(name, path=f"{prefix}/bin" if prefix else None)
    return Path(found).resolve() if found else None


def _own_plugins(binary: Path) -> Path | None:
    root = binary.parent.parent
    for pattern in ("lib/*/vpp_plugins", "lib/vpp_plugins", "lib64/vpp_plugins"):
        for directory in sorted(root.glob(pattern)):
            return directory
    return None


def _plugin(own_plugins: Path) -> Path | None:
    named = os.environ.get("FIP64_VPP_PLUGIN_PATH")
    if named:
        candidates = [Path(part) / PLUGIN for part in named.split(":") if part]
    else:
        candidates = [*sorted(_BUILD.glob(f"**/vpp_plugins/{PLUGIN}")), own_plugins / PLUGIN]
    return next((path.resolve() for path in candidates if path.is_file()), None)


def find() -> Installed | None:
    """Look for VPP and the plugin; None when there is no VPP. missing() says why."""
    binary, vppctl = _binary("vpp"), _binary("vppctl")
    own_plugins = binary and _own_plugins(binary)
    if not (binary and vppctl and own_plugins):
        return None
    return Installed(binary, vppctl, own_plugins, _plugin(own_plugins))


def missing(plugin: bool = True) -> str | None:
    """Return why tests with VPP (and the fip64 plugin) cannot run here, or None when they can."""
    if os.geteuid():
        return "VPP needs root"
    installed = find()
    if installed is None:
        where = os.environ.get("FIP64_VPP_PREFIX")
        return f"no VPP in {where}" if where else "no VPP in PATH, and FIP64_VPP_PREFIX is not set"
    if plugin and installed.plugin is None:
        return f"{PLUGIN} is not built (vpp-plugin/README.rst), or not where FIP64_VPP_PLUGIN_PATH says"
    return None


class Vpp:
    """One VPP in `directory`, which must have a short path: unix sockets live in it.

    `netns`: network namespace it runs in. `workers`: worker threads. `stanzas`: appended to the startup file.
    `plugins`: names to load. `heap`: size of the main heap.
    Use as a context manager, or call start() and stop().
    """

    def __init__(self, directory: Path | str, netns: str | None = None, *, workers: int = 0,
                 stanzas: str = "", plugins: Iterable[str] = PLUGINS, heap: str = "512M",
                 statseg: str = "64M", poll_sleep: int = 100, installed: Installed | None = None) -> None:
        found = installed or find()
        if found is None:
            raise RuntimeError(missing() or "no VPP")
        self.installed = found
        self.directory = Path(directory)
        self.netns = netns
        self.api_socket = self.directory / "api.sock"
        self.cli_socket = self.directory / "cli.sock"
        self.stats_socket = self.directory / "stats.sock"
        self.log = self.directory / "vpp.log"
        self._segment = f"f64-{os.getpid()}-{id(self):x}"
        self._options = (workers, stanzas, tuple(plugins), heap, statseg, poll_sleep)
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Vpp:
        self.start()
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    @cached_property
    def startup(self) -> str:
        """The startup file's text: runs without hugepages, all sockets in the directory."""
        workers, stanzas, plugins, heap, statseg, poll_sleep = self._options
        threads = f"workers {workers}" if workers else ""
        enabled = " ".join(f"plugin {name} {{ enable }}" for name in plugins)
        return f"""\
unix {{
  nodaemon nocolor nosyslog nobanner
  log {self.log}
  runtime-dir {self.directory}
  cli-listen {self.cli_socket}
  cli-no-pager
  poll-sleep-usec {poll_sleep}
}}
logging {{ default-log-level info default-syslog-log-level disabled }}
socksvr {{ socket-name {self.api_socket} }}
api-segment {{ prefix {self._segment} }}
statseg {{ socket-name {self.stats_socket} size {statseg} page-size 4k update-interval 1 }}
memory {{ main-heap-size {heap} main-heap-page-size 4k }}
buffers {{ buffers-per-numa 16384 page-size 4k }}
cpu {{ {threads} }}
plugins {{
  path {self.installed.plugin_path}
  plugin default {{ disable }}
  {enabled}
}}
{stanzas}
"""

    def _remove_segments(self) -> None:
        """VPP leaves its shared memory behind when it is killed."""
        for name in ("global_vm", "vpe-api"):
            Path(f"/dev/shm/{self._segment}-{name}").unlink(missing_ok=True)

    def start(self, seconds: float = 20) -> None:
        """Start it and wait until its API answers. Raises: RuntimeError with the end of its output."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for stale in (self.api_socket, self.cli_socket, self.stats_socket):
            stale.unlink(missing_ok=True)
        file = self.directory / "startup.conf"
        file.write_text(self.startup)
        with open(self.directory / "vpp.out", "ab") as output:
            # It ends with who started it: a VPP that a killed test leaves behind eats a core.
            self.process = subprocess.Popen(
                inside(self.netns, ["setpriv", "--pdeathsig", "KILL", str(self.installed.binary),
                                    "-c", str(file)]), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + seconds
        while not (self.api_socket.is_socket() and self.stats_socket.is_socket()
                   and run(str(self.installed.vppctl), "-s", str(self.cli_socket), "show version",
                           check=False).stdout.startswith("vpp ")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                ended = self.process.poll()
                self.stop()
                how = f"ended with status {ended}" if ended is not None else f"did not start in {seconds} s"
                raise RuntimeError(f"VPP {how}: {self.output()[-3000:]}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def output(self) -> str:
        """What it wrote to its standard output and error."""
        try:
            return (self.directory / "vpp.out").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, and wait for its end if it is one that ends it."""
        if self.running:
            os.kill(self.pid, number)
            if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
                self.process.wait(10)

    def stop(self) -> None:
        """End it: by SIGTERM, after 5 s by SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._remove_segments()

    def cli(self, command: str, check: bool = False) -> str:
        """Run one CLI command and return what it printed.

        Raises: RuntimeError when VPP cannot be reached, or, with `check`, when VPP says the command failed.
        """
        if check:
            with self.papi() as api:
                done = api.cli_inband(cmd=command)
                if done.retval:
                    raise RuntimeError(f"{command}: {done.reply.strip() or done.retval}")
                return done.reply
        return run(str(self.installed.vppctl), "-s", str(self.cli_socket), command).stdout

    @contextlib.contextmanager
    def papi(self, name: str = "lab") -> Iterator[Any]:
        """Connect an API client (vpp_papi, with its own reader thread): ``api.<message>(field=...)``."""
        from vpp_papi import VPPApiClient

        client = VPPApiClient(server_address=str(self.api_socket), bootstrapapi=True, read_timeout=30)
        client.connect(name)
        try:
            # The client, so that events can be subscribed to, with the calls at hand.
            yield _Api(client)
        finally:
            with contextlib.suppress(Exception):  # VPP may be gone, on purpose
                client.disconnect()

    @contextlib.contextmanager
    def stats(self) -> Iterator[Any]:
        """Connect to the stats segment: ``stats["/fip64/mapping/6to4"][:, index].sum_packets()``."""
        from vpp_papi.vpp_stats import VPPStats

        stats = VPPStats(str(self.stats_socket))
        stats.connect()
        try:
            yield stats
        finally:
            stats.disconnect()


class _Api:
    """Calls of the API as attributes, and the client itself as `client`."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client.api, name)
