# SPDX-License-Identifier: Apache-2.0
"""`Guest`: the machine, and the lab in it."""

from __future__ import annotations

import subprocess
from typing import Any

from lab.daemon import wait_for
from lab.guest import install_disk
from lab.guest.image import INSTALL_DISK
from lab.guest.installed import FIP_OFFLOADS, FIP_ON_LINK, FIP_UNTAGGED
from lab.guest.machine import Machine
from lab.guest.remote import Remote
from lab.host import FIP_A, FIP_B

CHECKOUT = f"{INSTALL_DISK}/checkout"
PYTHON = "/opt/fip64agent/bin/python"
UNIT = "fip64-agent"
LAB_UNIT = "fip64-lab"
CONFIG = "/etc/fip64agent/fip64agent.conf"
SLOW = "FIP64_LAB_WAIT_FACTOR=6"
"""For labs whose limits are those of a real machine: the guest, in software emulation, needs several times
longer, for VPP's start most of all. The lab around the installed agent has limits of its own."""


class Guest:
    """A machine in which the agent runs with one translator."""

    ROUTED = (FIP_A, FIP_B)
    ALL = (FIP_A, FIP_B, FIP_ON_LINK, FIP_UNTAGGED, FIP_OFFLOADS)

    def __init__(self, machine: Machine, translator: str) -> None:
        self.machine = machine
        self.translator = translator
        self.lab: Remote = machine.remote()

    def run(self, *argv: str, **kwargs: Any) -> subprocess.CompletedProcess:
        """Run a command in there, as Machine.run()."""
        return self.machine.run(*argv, **kwargs)

    @property
    def environment(self) -> list[str]:
        """Settings that tell the lab in there where VPP is."""
        return [f"FIP64_VPP_PREFIX={install_disk.vpp_prefix()}"] if self.translator == "vpp" else []

    def allow_time(self) -> None:
        """systemd's limit for the start of a unit is made for real machines, not for software emulation."""
        self.run("bash", "-euc", """
            mkdir -p /etc/systemd/system.conf.d
            printf '[Manager]\\nDefaultTimeoutStartSec=900\\n' > /etc/systemd/system.conf.d/slow.conf
            systemctl daemon-reexec
            """)

    def build_lab(self) -> None:
        """Start what serves the lab, and build it: at first, and after each boot."""
        self.run("systemd-run", f"--unit={LAB_UNIT}", f"--working-directory={CHECKOUT}",
                 *(f"--setenv={setting}" for setting in self.environment),
                 PYTHON, "-m", "lab.guest.installed", "--translator", self.translator)
        self.lab.start()
        self.lab.wait_installed(*self.ROUTED)
        self.lab.wait_answers(*self.ROUTED)

    def wait_active(self, seconds: float = 300) -> None:
        """Wait until the unit is active. Raises: RuntimeError."""
        wait_for(lambda: self.run("systemctl", "is-active", "-q", UNIT, check=False).returncode == 0, seconds,
                 f"{UNIT} is active", interval=1)

    def configure_vpp(self) -> str:
        """Put VPP where the host has it, tell the agent, and start it anew; returns VPP's version."""
        prefix = install_disk.vpp_prefix()
        libraries = sorted({str(path.parent) for path in prefix.glob("lib/**/libvlib.so*")})
        self.run("bash", "-euc", f"""
            mkdir -p {prefix}
            echo '{INSTALL_DISK}/vpp {prefix} none bind 0 0' >> /etc/fstab
            mount {prefix}
            printf '%s\\n' {' '.join(libraries)} > /etc/ld.so.conf.d/vpp.conf
            ldconfig
            sed -i -e 's|^\\[vpp\\]$|&\\nbinary = {prefix}/bin/vpp\\nstart_timeout = 300|' \
                   -e 's|^\\[fip64\\]$|&\\ntranslator = vpp|' {CONFIG}
            systemctl restart {UNIT}
            """)
        return self.run(f"{prefix}/bin/vpp", "--version", check=False).stdout.strip() or "started"
