# SPDX-License-Identifier: Apache-2.0
"""The systemd unit is one that systemd understands, and promises what the documentation says."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[3] / "etc" / "systemd" / "fip64-agent.service"


@pytest.fixture(scope="module")
def unit():
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


@pytest.fixture(scope="module")
def service(unit):
    return unit["Service"]


def test_systemd_understands_it(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "fip64-agent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/fip64agent/bin/fip64-agent", str(program)))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True,
                          timeout=60)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert done.returncode == 0, done.stderr
    assert not complaints, done.stderr


def test_translators_outlive_the_agent(service):
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"
    assert service["RuntimeDirectoryPreserve"] == "yes"


def test_vpp_may_lock_its_rings(service):
    """Else it cannot make a host-interface: EAGAIN, as it has no CAP_IPC_LOCK either."""
    assert service["LimitMEMLOCK"] == "infinity"


def test_systemd_watches_it(service):
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert service["Restart"] == "always"


def test_systemd_never_gives_it_up(unit):
    """By default five failures within 10 s leave the unit failed for good."""
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_rights_are_cut_to_what_is_needed(service):
    rights = service["CapabilityBoundingSet"].split()
    assert {"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"} <= set(rights) and len(rights) <= 7
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["RestrictNamespaces"].split() == ["net", "mnt"]
    assert service["SystemCallFilter"].split() == ["@system-service", "@mount"]
    assert service["DeviceAllow"] == "/dev/net/tun rw"
