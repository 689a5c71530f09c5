# SPDX-License-Identifier: Apache-2.0
"""Sites with the tayga driver."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from fip64agent.process import outcome
from fip64agent.translator.tayga import process
from fip64agent.translator.tayga.room import TaygaRoom
from tests.conftest import require_programs, require_root
from tests.fakes.kernel import agents_namespace
from tests.functional.translator.site import Site


def end_all(run_path) -> None:
    for found in process.running(str(run_path)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGKILL)
        outcome(found.pid)


@pytest.fixture
def site(short_tmp) -> Iterator[Site]:
    require_root()
    require_programs("ip", "nsenter", "tayga", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
    run_path, state_path = short_tmp / "run", short_tmp / "state"
    with agents_namespace() as prefix:
        made = Site(prefix, short_tmp, "tayga",
                    lambda on_change: TaygaRoom(str(run_path), str(state_path), "tayga", prefix,
                                                on_change=on_change))
        try:
            made.start()
            yield made
        finally:
            made.stop()
            end_all(run_path)
