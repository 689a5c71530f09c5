# SPDX-License-Identifier: Apache-2.0
"""Tables of end-to-end tests once more, on the kernel's datapath: they were made on the userspace one."""

import re

import pytest

from tests.host.guest import CHECKOUT, SLOW

TABLES = {"tests/e2e/test_neighbor.py": ("who answers Neighbor Solicitations and MLD queries, and which", 15),
          "tests/e2e/test_isolation.py": ("what a VM may try, and where it comes out", 15),
          "tests/e2e/test_ipv6_routing.py": ("IPv6 of VM ports: addresses, gateway, routes, restart", 8)}
"""By file: what is tried, and how many tests there are at least for each translator. Not here, though it
can be run in there by hand: tests/e2e/test_snooping.py, which depends on timers of a Linux bridge more than
on the datapath."""

EVERY = 307
"""Of the attempts, each in turn: software emulation is slow, and all of CI should end within 45 minutes."""


@pytest.mark.parametrize("table", TABLES, ids=["Neighbor Discovery", "isolation", "IPv6 of VM ports"])
def test_a_table_of_attempts_on_the_kernel_datapath(installed, away, step, table):
    """A table of end-to-end tests, with the machine's own Open vSwitch and its kernel datapath."""
    with step("make .venv/.test"):
        installed.run("make", "-s", ".venv/.test", cwd=CHECKOUT, timeout=1800)
    what, least = TABLES[table]
    with step(f"{table}: {what}") as now:
        done = installed.run("env", *installed.environment, SLOW, "FIP64_LAB_OVS=system",
                             f"FIP64_ATTEMPTS_EVERY={EVERY}",
                             ".venv/bin/python", "-m", "pytest", table, "-q", "-k", installed.translator,
                             cwd=CHECKOUT, check=False, timeout=3000)
        now.result = done.stdout.splitlines()[-1] if done.stdout else "nothing"
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= least
