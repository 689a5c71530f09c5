# SPDX-License-Identifier: Apache-2.0
"""The unit is there before what it stands on: Open vSwitch's bridge, a good configuration."""

import time

import pytest

from lab.guest.installed import VMS
from tests.host.guest import CONFIG, UNIT

STARTS = 6
"""More than the five in ten seconds that systemd allows by default."""
_LIMITS = "/etc/systemd/system.conf.d/limits.conf"


def restarts(guest) -> int:
    return int(guest.run("systemctl", "show", "-P", "NRestarts", UNIT).stdout)


def state(guest) -> str:
    shown = guest.run("systemctl", "show", "--value", "-p", "ActiveState,SubState,Result", UNIT)
    return " ".join(shown.stdout.split())


@pytest.fixture
def quick_machine(installed):
    """Five starts in ten seconds happen on a quick machine; on a slow one the same are five in ten minutes.

    This is the manager's default: a unit that sets its own limit, or none, is not concerned.
    """
    installed.run("bash", "-euc", f"""
        mkdir -p $(dirname {_LIMITS})
        printf '[Manager]\\nDefaultStartLimitIntervalSec=600\\n' > {_LIMITS}
        systemctl daemon-reexec
        """)
    yield
    installed.run("bash", "-euc", f"rm {_LIMITS}; systemctl daemon-reexec")
    installed.run("systemctl", "reset-failed", UNIT, check=False)


def wait_attempts(guest, number: int, step, may_wait: bool) -> None:
    """Wait until the unit was started again `number` times; `may_wait`: or stays, waiting, for a minute."""
    with step("what the unit does") as now:
        before, since = restarts(guest), time.monotonic()
        while (tried := restarts(guest) - before) < number:
            if guest.run("systemctl", "is-failed", UNIT, check=False).stdout.strip() == "failed":
                pytest.fail(f"systemd gave up: {state(guest)}, after {tried} starts")
            if may_wait and not tried and time.monotonic() - since > 60:
                break
            assert time.monotonic() - since < 600, f"only {tried} starts in 10 minutes, {state(guest)}"
            time.sleep(2)
        now.result = f"{tried} starts, {state(guest)}"


def test_long_before_any_bridge_exists(installed, quick_machine, lab, step):
    """Started long before there is a bridge, the unit works once somebody adds it."""
    with step("systemctl stop; ovs-vsctl del-br br-int"):
        lab.agent.stop()
        installed.run("ovs-vsctl", "del-br", "br-int")
    with step(f"systemctl start --no-block {UNIT}"):
        installed.run("systemctl", "start", "--no-block", UNIT)
    try:
        wait_attempts(installed, STARTS, step, may_wait=True)
    finally:
        with step("ovs-vsctl add-br br-int, and its ports"):
            installed.run("ovs-vsctl", "add-br", "br-int")
            lab.bind("uplink", *VMS)
    with step("the floating IPs") as now:
        since = time.monotonic()
        lab.wait_installed(*installed.ROUTED)
        lab.wait_answers(*installed.ROUTED)
        now.result = f"answer after {time.monotonic() - since:.1f} s"


def test_after_failures_in_a_row(installed, quick_machine, lab, step):
    """Six failed starts in a row do not keep the unit from starting once the cause is mended."""
    with step("a configuration that cannot be used"):
        installed.run("cp", CONFIG, f"{CONFIG}.good")
        installed.run("bash", "-c", f"printf '[fip64]\\ntranslator = none\\n' > {CONFIG}")
        installed.run("systemctl", "restart", "--no-block", UNIT)
    try:
        wait_attempts(installed, STARTS, step, may_wait=False)
    finally:
        installed.run("mv", f"{CONFIG}.good", CONFIG)
    with step("the configuration is mended") as now:
        since = time.monotonic()
        lab.agent.wait_running()
        lab.wait_answers(*installed.ROUTED)
        now.result = f"the unit runs after {time.monotonic() - since:.1f} s"
