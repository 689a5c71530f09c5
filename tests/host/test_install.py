# SPDX-License-Identifier: Apache-2.0
"""What README.rst installs: that it runs as systemd's unit, with the rights it was left and no others."""

import re

from tests.host.guest import UNIT

MOST_EXPOSED = 5.0
"""What ``systemd-analyze security`` may say: below 5 it speaks of "MEDIUM" exposure, and better."""
_DENIED = re.compile(r"Permission denied|Operation not permitted|Read-only file system|EPERM|EACCES|EROFS")


def mask(installed, names) -> int:
    """Return capabilities, by their names, as the bits that /proc has for them."""
    listed = installed.run("systemd-analyze", "capability", *names).stdout
    numbers = dict(re.findall(r"^(cap_\w+)\s+(\d+)\s*$", listed, re.MULTILINE))
    return sum(1 << int(numbers[name]) for name in names)


def test_the_kernel_switches_the_packets(installed, step):
    """The bridge is on the kernel's datapath."""
    with step("ovs-appctl dpif/show") as now:
        shown = installed.run("ovs-appctl", "dpif/show").stdout
        now.result = shown.splitlines()[0].split(":")[0]
        assert shown.startswith("system@")
    assert "openvswitch" in installed.run("lsmod").stdout


def test_the_unit_runs_with_the_translator(installed, lab, step):
    """The unit runs, with the translator in its control group, and is enabled for the next boot."""
    with step(f"systemctl status {UNIT}") as now:
        now.result = installed.run("systemctl", "show", "-P", "StatusText", UNIT).stdout.strip()
        assert installed.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
    with step(f"processes of {installed.translator}") as now:
        processes = lab.translators()
        now.result = str(len(processes))
        assert len(processes) == (2 if installed.translator == "tayga" else 1)
        for pid in processes:
            assert f"/{UNIT}.service" in installed.run("cat", f"/proc/{pid}/cgroup").stdout


def test_the_sandbox_holds_and_is_wide_enough(installed, lab, step):
    """What the unit forbids is forbidden to agent and translator, and neither was denied what it needs.

    The logs of the agent and of tayga say what was denied; VPP's log is not read.
    """
    allowed = installed.run("systemctl", "show", "-P", "CapabilityBoundingSet", UNIT).stdout.split()
    granted = mask(installed, allowed)
    pids = [lab.agent.pid.value(), *lab.translators()]
    with step(f"{len(pids)} processes") as now:
        now.result = f"within {len(allowed)} capabilities"
        for pid in pids:
            status = installed.run("cat", f"/proc/{pid}/status").stdout
            assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)
            assert re.search(r"^Seccomp:\s2$", status, re.MULTILINE)
            for kind in ("CapPrm", "CapEff", "CapBnd"):
                has = int(re.search(rf"^{kind}:\s(\S+)$", status, re.MULTILINE)[1], 16)
                assert not has & ~granted, f"{kind} of process {pid}: {has:x}, the unit grants {granted:x}"
    with step("/usr, /etc and modules") as now:
        inside = ("nsenter", "-t", str(pids[0]), "-m", "--")
        for path in ("/usr/x", "/etc/x", "/boot/x"):
            tried = installed.run(*inside, "touch", path, check=False)
            assert tried.returncode and "Read-only file system" in tried.stderr, path
        now.result = "read-only to the agent"
    with step("the logs of the agent and of tayga") as now:
        of_tayga = installed.run("find", "/run/fip64agent", "-name", "tayga.log",
                                 "-exec", "cat", "{}", "+").stdout
        lines = [*lab.agent.log().splitlines(), *of_tayga.splitlines()]
        denied = [line for line in lines if _DENIED.search(line)]
        now.result = f"{len(lines)} lines, {len(denied)} of something denied"
        assert not denied


def test_systemd_finds_it_little_exposed(installed, step):
    """``systemd-analyze security`` is content with the unit."""
    with step("systemd-analyze security") as now:
        shown = installed.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
        overall = re.search(r"Overall exposure level for \S+: ([\d.]+) (\w+)", shown)
        now.result = f"{overall[1]} {overall[2]}"
        assert float(overall[1]) < MOST_EXPOSED, shown
