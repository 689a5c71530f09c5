# SPDX-License-Identifier: Apache-2.0
"""A VPP that cannot start, kept by the loop as in the daemon: what that costs, and what the log says.

The programs that fail stand in for VPP: it is their failure that is tried. Needs no VPP.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.plan.desired import Desired
from fip64agent.process import outcome
from fip64agent.reconcile.loop import Loop
from fip64agent.translator.vpp import process
from fip64agent.translator.vpp.room import VppRoom
from fip64agent.translator.vpp.startup import StartupOptions
from tests.conftest import require_root
from tests.fakes import planned
from tests.fakes.kernel import until

STARTS_IN_6_S = 4
"""At 0, 0, 1 and 3 s: after the first death at once, then after 1, 2, 4 ... s."""


class Kept:
    """The vpp driver with `program` as its VPP, and the loop that keeps it."""

    def __init__(self, directory: Path, program: str) -> None:
        self.program = directory / "vpp"
        self.write(program)
        self.options = StartupOptions(str(directory / "run"))
        self.room = VppRoom(self.options, lambda: self.loop.invalidate("translator"), seed=b"test",
                            binary=str(self.program), probe_interval=0.2)
        self.loop = Loop([self.room], audit_interval=3600)
        self.room.start()
        self.thread = hub.spawn(self.loop.run)
        self.loop.submit(Desired.of_objects([planned.host("fip64-test-", translator="vpp")]))

    def write(self, program: str) -> None:
        self.program.write_text(f"#!/bin/sh\n{program}\n")
        self.program.chmod(0o755)

    @property
    def starts(self) -> int:
        log = Path(self.options.log_file)
        return log.read_text().count("fip64-agent starts VPP") if log.exists() else 0

    @property
    def reason(self) -> str:
        return self.loop.blocked.get("translator", "")

    def close(self) -> None:
        self.thread.kill()
        self.room.close()
        for found in process.running(self.options.run_path):
            found.stop()
            outcome(found.pid)
        process.clean(self.options)


@pytest.fixture
def keep(short_tmp) -> Iterator:
    require_root()
    made = []

    def make(program: str) -> Kept:
        made.append(Kept(short_tmp, program))
        return made[-1]

    yield make
    for kept in made:
        kept.close()


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]


@pytest.mark.parametrize("end", ["exit 7", "kill -SEGV $$"])
def test_a_vpp_that_cannot_start_is_started_ever_more_seldom_and_reported_once(keep, caplog, end):
    caplog.set_level(logging.DEBUG, "fip64agent")
    begun = time.monotonic()
    kept = keep(f'echo "`date +%s.%N` vpp[$$]: no memory at 0x$$"\n{end}')
    until(lambda: kept.starts == 2, 10, "a first restart")
    hub.sleep(6 - (time.monotonic() - begun))
    assert 2 < kept.starts <= STARTS_IN_6_S
    assert kept.loop.passes <= 3
    lines = [line for line in told(caplog) if "no memory" in line]
    assert len(lines) == 1 and lines[0].startswith("translator cannot work now: VPP (pid "), told(caplog)
    assert len(told(caplog)) <= 3, "its start, the reason, and that it is starting"
    assert 0 < kept.room.about().next_start <= 4
    assert "no memory" in kept.reason


def test_another_reason_is_reported_too(keep, caplog):
    caplog.set_level(logging.INFO, "fip64agent")
    kept = keep("echo the first reason\nexit 7")
    until(lambda: "the first reason" in kept.reason, 10, "the first reason told")
    kept.write("echo the second reason\nexit 7")
    until(lambda: "the second reason" in kept.reason, 20, "the second reason told")
    hub.sleep(1)
    for which in ("first", "second"):
        assert sum(f"the {which} reason" in line for line in told(caplog)) == 1, told(caplog)


def test_a_vpp_that_is_not_there_costs_no_passes(keep, caplog):
    caplog.set_level(logging.INFO, "fip64agent")
    kept = keep("exit 0")
    kept.program.unlink()
    until(lambda: "is not found" in kept.reason, 10, "told that it is missing")
    passes = kept.loop.passes
    hub.sleep(4)
    assert kept.loop.passes <= passes + 1
    assert sum("is not found" in line for line in told(caplog)) == 1
