# SPDX-License-Identifier: Apache-2.0
"""Sites with the vpp driver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fip64agent.process import outcome
from fip64agent.translator.vpp import process
from fip64agent.translator.vpp.room import VppRoom
from fip64agent.translator.vpp.startup import StartupOptions
from lab import vpp as installed
from tests.conftest import require_programs, require_root
from tests.fakes.kernel import agents_namespace
from tests.functional.translator.site import Site


def require_vpp() -> installed.Installed:
    """Skip where there is no VPP with the plugin."""
    if reason := installed.missing():
        pytest.skip(reason)
    found = installed.find()
    assert found is not None
    return found


def new_room(directory: Path, on_change=lambda: None, **options) -> VppRoom:
    """Return a driver whose VPP lives in `directory`; not started."""
    found = require_vpp()
    # As little as these tests need: several VPPs may run on one machine.
    startup = StartupOptions(run_path=str(directory / "vpp"), poll_sleep=100, main_heap_size="512M",
                             buffers_per_numa=8192)
    return VppRoom(startup, on_change, seed=b"test",
                   **{"binary": str(found.binary), "plugin_path": str(found.plugin.parent),
                      "probe_interval": 0.5, "probe_timeout": 1.0} | options)


def end_all(directory: Path) -> None:
    """End the VPPs of new_room(directory)."""
    for found in process.running(str(directory / "vpp")):
        with contextlib.suppress(TimeoutError, OSError):
            found.stop()
        outcome(found.pid)
    process.clean(StartupOptions(str(directory / "vpp")))


@contextlib.contextmanager
def vpp_site(directory: Path, **options) -> Iterator[Site]:
    require_root()
    require_programs("ip", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
    require_vpp()
    with agents_namespace() as prefix:
        made = Site(prefix, directory, "vpp", lambda on_change: new_room(directory, on_change, **options))
        try:
            made.start()
            yield made
        finally:
            made.stop()
            end_all(directory)
