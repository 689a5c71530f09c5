# SPDX-License-Identifier: Apache-2.0
"""The agent and Open vSwitch end, start and are removed under a ping of each floating IP, 20 a second."""

import time

import pytest

from lab.guest.installed import FIP_UNTAGGED
from lab.host import FIP_A, FIP_B
from tests.host.guest import UNIT

PINGED = (FIP_A, FIP_B, FIP_UNTAGGED)


class Pinged:
    """What became of the pings; stop() once all that was to be done is done."""

    def __init__(self, lab, step):
        self._step = step
        self._running = [lab.client.start_ping(address, interval=0.05, wait=5) for address in PINGED]

    def stop(self) -> int:
        """Return how many were lost."""
        with self._step("lost") as now:
            answers = [running.stop() for running in self._running]
            self._running = []
            lost, sent = sum(len(answer.lost) for answer in answers), sum(answer.sent for answer in answers)
            now.result = f"{lost} of {sent} pings"
            assert sent
            return lost

    def close(self):
        for running in self._running:
            running.stop()


@pytest.fixture
def pings(lab, step):
    pinged = Pinged(lab, step)
    yield pinged
    pinged.close()


def test_the_agent_is_killed(installed, lab, pings, step):
    """SIGKILL: systemd starts the agent again, and no ping is lost."""
    before = lab.translators()
    with step("kill -9") as now:
        since = time.monotonic()
        lab.agent.kill()
        lab.agent.wait_running()
        lab.wait_settled()
        now.result = f"started again and settled after {time.monotonic() - since:.1f} s"
    assert pings.stop() == 0
    assert lab.translators() == before


def test_the_agent_is_restarted(installed, lab, pings, step):
    """``systemctl restart fip64-agent`` loses no ping."""
    before = lab.translators()
    with step(f"systemctl restart {UNIT}"):
        lab.agent.restart()
        lab.wait_settled()
    assert pings.stop() == 0
    assert lab.translators() == before


def test_the_agent_is_reloaded(installed, lab, pings, step):
    """``systemctl reload fip64-agent`` loses no ping, and keeps the process."""
    before = installed.run("systemctl", "show", "-P", "MainPID", UNIT).stdout
    with step(f"systemctl reload {UNIT}"):
        installed.run("systemctl", "reload", UNIT)
        lab.wait_settled()
    assert pings.stop() == 0
    assert installed.run("systemctl", "show", "-P", "MainPID", UNIT).stdout == before


def test_the_agent_is_stopped(installed, lab, pings, step):
    """``systemctl stop fip64-agent`` loses no ping, nor does its start a while later."""
    with step(f"systemctl stop {UNIT}") as now:
        lab.agent.stop()
        now.result = installed.run("systemctl", "show", "-P", "Result", UNIT).stdout.strip()
        assert now.result == "success"
        time.sleep(10)
    with step(f"systemctl start {UNIT}"):
        lab.agent.start()
        lab.wait_settled()
    assert pings.stop() == 0


def test_everything_is_cleaned_up(installed, lab, pings, step):
    """``fip64-cleanup`` leaves nothing of the agent, and its start puts all of it back."""
    before = {kind: len(found) for kind, found in lab.owned().items()}
    with step(f"systemctl stop {UNIT}; fip64-cleanup") as now:
        lab.agent.stop()
        installed.run("/opt/fip64agent/bin/fip64-cleanup")
        now.result = ", ".join(f"{number} {kind}" for kind, number in before.items()) + " are gone"
    assert not any(lab.owned().values()), lab.owned()
    assert not lab.translators()
    assert not lab.client.reaches(FIP_A, 2)
    with step(f"systemctl start {UNIT}") as now:
        since = time.monotonic()
        lab.agent.start()
        lab.wait_answers(*PINGED)
        lab.wait_settled()
        now.result = f"all is back after {time.monotonic() - since:.1f} s"
    assert pings.stop() > 0
    assert {kind: len(found) for kind, found in lab.owned().items()} == before


def test_open_vswitch_is_restarted(installed, lab, pings, step):
    """``systemctl restart openvswitch-switch``: the floating IPs answer again, by themselves."""
    with step("systemctl restart openvswitch-switch"):
        installed.run("systemctl", "restart", "openvswitch-switch")
    with step("the floating IPs") as now:
        since = time.monotonic()
        lab.wait_answers(*PINGED)
        lab.wait_settled()
        now.result = f"answer again, settled after {time.monotonic() - since:.1f} s"
    pings.stop()


def test_the_machine_is_rebooted(installed, step):
    """A reboot: everything is back as soon as the VMs are, by the unit alone."""
    before = {kind: len(found) for kind, found in installed.lab.owned().items()}
    with step("systemctl reboot"):
        installed.machine.reboot()
    with step(f"systemctl is-active {UNIT}") as now:
        installed.wait_active()
        now.result = installed.run("systemctl", "show", "-P", "StatusText", UNIT).stdout.strip()
    with step("client, router and VMs around it"):
        installed.build_lab()
    lab = installed.lab
    with step("the floating IPs") as now:
        since = time.monotonic()
        lab.wait_answers(*PINGED)
        lab.wait_settled()
        now.result = f"answer, settled after {time.monotonic() - since:.1f} s"
    assert {kind: len(found) for kind, found in lab.owned().items()} == before
