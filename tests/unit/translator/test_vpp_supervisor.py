# SPDX-License-Identifier: Apache-2.0
"""Health probes, with a stand-in that is busy or hangs; a real VPP is in tests/functional."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fip64agent import hub
from fip64agent.translator.vpp import probe
from fip64agent.translator.vpp.api import compatibility
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.startup import StartupOptions
from fip64agent.translator.vpp.supervisor import Supervisor
from tests.fakes.vppapi import FakeVpp


@pytest.fixture(autouse=True)
def any_messages(monkeypatch):
    monkeypatch.setattr(compatibility, "faults", lambda definitions, table: [])


def answer(fake, request):
    fake.send("control_ping_reply", context=request.context, vpe_pid=1)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        hub.sleep(0.01)
    return condition()


def watch(tmp_path, control_ping):
    """Run a supervisor of an external stand-in for 4 s; return what it reported."""
    downs = []
    with FakeVpp(tmp_path, control_ping=control_ping) as fake:
        one = Supervisor(StartupOptions(str(tmp_path)), launch="external", api_socket=fake.path,
                         probe_interval=0.1, probe_timeout=1.5, on_down=downs.append)
        one.start()
        try:
            assert until(lambda: one.client is not None)
            hub.sleep(4)
        finally:
            one.close()
    return downs


def test_a_busy_vpp_is_not_taken_for_hung(tmp_path):
    """The answer to the probe comes late, behind those to other requests: VPP works."""
    asked = []

    def busy(fake, request):
        asked.append(request)
        if len(asked) > 1:
            for _ in range(8):
                time.sleep(0.25)
                fake.send("thing_event", pid=1, number=1)
        answer(fake, request)

    assert watch(tmp_path, busy) == []
    assert len(asked) > 1


def test_a_vpp_that_says_nothing_hangs(tmp_path):
    asked = []

    def hanging(fake, request):
        asked.append(request)
        if len(asked) < 3:
            answer(fake, request)

    downs = watch(tmp_path, hanging)
    assert downs and downs[0] == "VPP does not answer for 1.5 s; it is external, so it is left alone"


def test_a_lost_connection_does_not_make_an_old_vpp_young(tmp_path):
    """Else its death would count as one in a row, and the next VPP would wait."""
    now = [1000.0]
    with FakeVpp(tmp_path) as fake:
        one = Supervisor(StartupOptions("/nonexistent"), clock=lambda: now[0])
        back_off = one._vpp.back_off
        back_off.ends = 5
        for _ in range(2):
            client = VppClient(fake.path)
            client.connect()
            one._came_up(client)
            now[0] += 45
            one._went_down("the connection was lost")
        back_off.ended(now[0])
    assert back_off.wait(now[0]) == 0 and back_off.ends == 1


@pytest.mark.parametrize(("unanswered", "blocked", "is_blocked"), [
    (3.0, 0.0, False), (3.1, 0.5, True), (9.0, 5.0, True), (9.0, 4.0, False), (59.0, 58.0, True),
    (61.0, 61.0, False)])
def test_a_vpp_that_cannot_run_has_not_hung(unanswered, blocked, is_blocked):
    one = Supervisor(StartupOptions("/nonexistent"), probe_timeout=3.0)
    assert one.probe.is_blocked(unanswered, blocked) == is_blocked
    assert ("waits for a processor" in (one.problem or "")) == is_blocked


def test_the_time_that_a_process_cannot_run_is_measured():
    """A real one that shares one processor with another: half of the time it waits."""
    cpu = min(os.sched_getaffinity(0))
    spin = ["taskset", "-c", str(cpu), sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(spin) as one, subprocess.Popen(spin) as other:
        try:
            in_kernel = probe.BlockedTime(other.pid, lambda pid: "D")
            with probe.BlockedTime(one.pid) as busy, in_kernel as kernel:
                begun = time.monotonic()
                assert until(lambda: busy.seconds > 0.5)
                assert kernel.seconds > 0.8 * (time.monotonic() - begun) - 0.5
            os.kill(one.pid, signal.SIGSTOP)
            with probe.BlockedTime(one.pid) as stopped:
                hub.sleep(0.5)
                assert stopped.seconds < 0.3, "a stopped process does not wait for a processor"
        finally:
            one.kill()
            other.kill()
    assert probe.BlockedTime(None).seconds == 0
