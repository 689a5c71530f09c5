# SPDX-License-Identifier: Apache-2.0
"""``make demo`` on the kernel's datapath, as somebody types it who has just cloned the repository."""

from tests.host.guest import CHECKOUT, SLOW


def test_make_demo_on_the_kernel_datapath(installed, away, step):
    """``make demo``, with the machine's own Open vSwitch and its kernel datapath."""
    with step("make demo OVS=system") as now:
        # pip would compile all that it installs, which takes minutes in software emulation.
        done = installed.run("env", *installed.environment, SLOW, "PIP_COMPILE=0", "make", "demo",
                             "OVS=system", cwd=CHECKOUT, check=False, timeout=1800)
        now.result = "what it printed:"
        now.notes = [line for line in done.stdout.splitlines() if line.strip()]
        assert done.returncode == 0, done.stdout + done.stderr
    assert "kernel datapath" in done.stdout
    assert ("VPP with the plugin" in done.stdout) == (installed.translator == "vpp")
    with step("what is left of it") as now:
        left = installed.run("bash", "-c", "ip netns list; ovs-vsctl list-br; ip -br link").stdout
        now.result = "nothing"
        assert "fip64-demo" not in left
