# SPDX-License-Identifier: Apache-2.0
"""Where VPP and its plugins are on this machine."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from fip64agent.exceptions import EnvironmentMissing
from fip64agent.process import program_path
from fip64agent.translator.vpp.api.messages import PLUGIN

_UNSURE = 0.5
"""Seconds by which the computed age of a process may be wrong, at most."""
_OWN = ("lib/*/vpp_plugins", "lib/vpp_plugins", "lib64/vpp_plugins")


@dataclasses.dataclass(frozen=True, slots=True)
class Installation:
    """What was found on this machine."""

    binary: str
    plugin_directories: tuple[str, ...]
    """Searched in this order; the first plugin of a name wins."""
    plugin: str | None
    """Path of the fip64 plugin."""

    @property
    def missing(self) -> str | None:
        """Why this VPP cannot translate; None: it can."""
        if self.plugin is None:
            where = " nor in ".join(self.plugin_directories) or "any directory"
            return (f"VPP's plugin {PLUGIN} is not in {where}: "
                    "install the package vpp-plugin-fip64, or set [vpp] plugin_path")
        return None

    def files(self) -> dict[str, tuple[int, int]]:
        """Return inode and time of change (ns) of the plugin and the program, by path. Raises: OSError."""
        found = {}
        for path in filter(None, (self.plugin, os.path.realpath(self.binary))):
            stat = os.stat(path)
            found[path] = stat.st_ino, stat.st_ctime_ns
        return found

    def renewed(self, files: dict[str, tuple[int, int]], age: float) -> str | None:
        """Return the path of the program or plugin, if it is newer than a VPP that runs; else None.

        files: what files() returned when that VPP was started, or found. age: seconds for which it has run,
        the only sign for a VPP that another agent started. Raises: OSError.
        """
        begun, now = time.time() - age + _UNSURE, time.time()
        return next((path for path, what in self.files().items()
                     if files.get(path) != what or begun < what[1] / 1e9 <= now), None)


def find(binary: str, plugin_path: str = "") -> Installation:
    """Look for VPP and the fip64 plugin. Raises: EnvironmentMissing when there is no VPP.

    binary: name or path of the program. plugin_path: directories, separated by colons.
    """
    if (path := program_path(binary)) is None:
        raise EnvironmentMissing(f"the program {binary!r} is not found: install the package vpp, "
                                 "or set [vpp] binary")
    root = Path(path).resolve().parent.parent
    own = [str(found) for pattern in _OWN for found in sorted(root.glob(pattern))][:1]
    directories = tuple(dict.fromkeys([*(part for part in plugin_path.split(":") if part), *own]))
    plugin = next((file for directory in directories
                   if os.path.isfile(file := os.path.join(directory, PLUGIN))), None)
    return Installation(path, directories, plugin)
