# SPDX-License-Identifier: Apache-2.0
"""The startup file of the VPP that the agent runs. Pure.

Its name contains the hash of its text, so the command line of a running VPP shows its startup options.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re

from fip64agent.exceptions import ConfigError
from fip64agent.translator.vpp.installation import PLUGIN

PLUGINS = ("af_packet_plugin.so", "ping_plugin.so", PLUGIN)
"""For host-interfaces on veth ends; for answers to pings of uplink addresses; for the translation."""
LONGEST_SOCKET = 107
"""Characters of a unix socket's path, see unix(7)."""

_NAME = re.compile(r"startup-([0-9a-f]{12})\.conf")


@dataclasses.dataclass(frozen=True, slots=True)
class StartupOptions:
    """Options of [vpp]; see the configuration reference."""

    run_path: str
    """Directory of VPP's own: sockets, log, startup file."""
    plugin_directories: tuple[str, ...] = ()
    """Where VPP looks for plugins; (): in its default directories."""
    extra_plugins: tuple[str, ...] = ()
    main_heap_size: str = "1G"
    buffers_per_numa: int = 16384
    stats_size: str = "64M"
    hugepages: bool = False
    main_core: int | None = None
    workers: int = 0
    corelist_workers: str = ""
    poll_sleep: int = 0
    extra: tuple[str, ...] = ()

    @property
    def api_socket(self) -> str:
        return os.path.join(self.run_path, "api.sock")

    @property
    def stats_socket(self) -> str:
        return os.path.join(self.run_path, "stats.sock")

    @property
    def cli_socket(self) -> str:
        return os.path.join(self.run_path, "cli.sock")

    @property
    def log_file(self) -> str:
        return os.path.join(self.run_path, "vpp.log")

    @property
    def segment_prefix(self) -> str:
        """Beginning of this VPP's names below /dev/shm: another VPP on this host has another."""
        return "fip64-" + hashlib.sha256(self.run_path.encode()).hexdigest()[:8]


def options_from(conf) -> StartupOptions:
    """Return the options of [vpp] in the configuration `conf`."""
    vpp = conf.vpp
    return StartupOptions(
        run_path=os.path.abspath(vpp.run_path or os.path.join(conf.run_path, "vpp")),
        plugin_directories=tuple(filter(None, vpp.plugin_path.split(":"))),
        extra_plugins=tuple(vpp.extra_plugin), main_heap_size=vpp.main_heap_size,
        buffers_per_numa=vpp.buffers_per_numa, stats_size=vpp.stats_size, hugepages=vpp.hugepages,
        main_core=vpp.main_core, workers=vpp.workers, corelist_workers=vpp.corelist_workers,
        poll_sleep=vpp.poll_sleep, extra=tuple(vpp.extra_startup))


def check(conf) -> None:
    """Check [vpp] of the configuration. Raises: ConfigError when VPP cannot be started with these options."""
    if conf.vpp.launch == "managed" and (found := faults(options_from(conf))):
        raise ConfigError("; ".join(found))


def faults(options: StartupOptions) -> list[str]:
    """Return why the options cannot be used, as sentences that name options of [vpp]; [] when they can."""
    found = []
    longest = max((options.api_socket, options.stats_socket, options.cli_socket), key=len)
    if len(longest) > LONGEST_SOCKET:
        found.append(f"[vpp] run_path: {longest} has {len(longest)} characters, "
                     f"a unix socket's path has at most {LONGEST_SOCKET}")
    if re.search(r"[\s{}#]", options.run_path + "".join(options.plugin_directories)):
        found.append("[vpp] run_path and plugin_path: blanks, braces and # have a meaning "
                     "in VPP's startup file")
    if options.workers and options.corelist_workers:
        found.append("[vpp] workers and corelist_workers: only one of them can be given")
    for text in options.extra:
        if not _balanced(text):
            found.append(f"[vpp] extra_startup: the braces of {text!r} do not match")
    for name in options.extra_plugins:
        if not re.fullmatch(r"[\w.-]+\.so", name):
            found.append(f"[vpp] extra_plugin: {name!r} is no name of a plugin: dpdk_plugin.so for instance")
    return found


def _balanced(text: str) -> bool:
    depth = 0
    for char in re.sub(r"#.*", "", text):
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return False
    return depth == 0


def text(options: StartupOptions) -> str:
    """Return the text of the startup file."""
    page = "default-hugepage" if options.hugepages else "4k"
    unix = ["nodaemon", "nosyslog", "nocolor", "nobanner", "cli-no-pager", f"runtime-dir {options.run_path}",
            f"cli-listen {options.cli_socket}"]
    if options.poll_sleep:
        unix.append(f"poll-sleep-usec {options.poll_sleep}")
    cpu = []
    if options.main_core is not None:
        cpu.append(f"main-core {options.main_core}")
    if options.workers:
        cpu.append(f"workers {options.workers}")
    if options.corelist_workers:
        cpu.append(f"corelist-workers {options.corelist_workers}")
    plugins = [f"path {':'.join(options.plugin_directories)}"] if options.plugin_directories else []
    plugins += ["plugin default { disable }",
                *(f"plugin {name} {{ enable }}"
                  for name in dict.fromkeys((*PLUGINS, *options.extra_plugins)))]
    stanzas = [
        ("unix", "no syslog, no core dump beyond the usual: what it says goes to vpp.log here", unix),
        ("logging", "plugins that cannot be loaded say so here",
         ["default-log-level notice", "default-syslog-log-level notice"]),
        ("socksvr", "the API", [f"socket-name {options.api_socket}"]),
        ("api-segment", "shared memory that another VPP on this host does not use",
         [f"prefix {options.segment_prefix}"]),
        ("statseg", "counters",
         [f"socket-name {options.stats_socket}", f"size {options.stats_size}", f"page-size {page}"]),
        ("memory", "tables and mappings",
         [f"main-heap-size {options.main_heap_size}", f"main-heap-page-size {page}"]),
        ("buffers", "packets", [f"buffers-per-numa {options.buffers_per_numa}", f"page-size {page}"]),
        ("cpu", "threads", cpu),
        ("plugins", "only what is needed", plugins),
    ]
    parts = ["# Written by fip64-agent from [vpp] of its configuration: changes here are lost."]
    parts += [f"# {why}\n{name} {{\n" + "".join(f"  {line}\n" for line in lines) + "}"
              for name, why, lines in stanzas]
    if options.extra:
        parts.append("# [vpp] extra_startup")
        parts += options.extra
    return "\n".join(parts) + "\n"


def file_name(options: StartupOptions) -> str:
    """Return the name of the startup file."""
    return f"startup-{hashlib.sha256(text(options).encode()).hexdigest()[:12]}.conf"


def path(options: StartupOptions) -> str:
    """Return the path of the startup file."""
    return os.path.join(options.run_path, file_name(options))


def parse_command(words: list[str], run_path: str) -> str | None:
    """Return the name of the startup file if a command line is that of a VPP of ours, else None."""
    if "-c" not in words[:-1]:
        return None
    directory, name = os.path.split(words[words.index("-c") + 1])
    if directory != run_path.rstrip("/") or not _NAME.fullmatch(name):
        return None
    return name
