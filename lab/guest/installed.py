# SPDX-License-Identifier: Apache-2.0
"""The lab on a machine where the agent is installed as README.rst says; served to the host over a port.

Kernel datapath, the machine's own Open vSwitch with the bridge br-int, and fip64-agent as the unit that is
shipped. Run by the agent's own interpreter: ``/opt/fip64agent/bin/python -m lab.guest.installed``.
"""

from __future__ import annotations

import argparse
import copy
import json
import signal
from pathlib import Path

from lab import netns as namespaces
from lab.daemon import Daemon, wait_for
from lab.guest.channel import serve
from lab.guest.remote import Objects
from lab.host import Lab
from lab.openvswitch import SystemOvs
from lab.shell import run

PORT = "/dev/virtio-ports/fip64.lab"
TOPOLOGY = Path("/etc/fip64agent/topology.yaml")
UNIT = "fip64-agent"
FIP_ON_LINK = "2001:db8:100::a"
FIP_UNTAGGED = "2001:db8:f::c"
FIP_OFFLOADS = "2001:db8:f::d"
FIP_BOND = "2001:db8:e::a"
VMS = ("vm-a", "vm-b", "vm-link", "vm-raw", "vm-tso")
_BOND = "bond0"
_MEMBERS = ("bond1", "bond2")
_PATIENCE = 300.0
"""Seconds that something may take that is done in one on a machine of today."""


class Unit(Daemon):
    """fip64-agent as systemd runs it, with the configuration that README.rst installs: all defaults."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, None, {
            "DEFAULT": {"run_path": "/run/fip64agent", "state_path": "/var/lib/fip64agent"},
            "admin": {"socket": "/run/fip64agent/admin.sock"},
            "tayga": {"netns_prefix": "fip64-"},
        })
        self.config_file = TOPOLOGY.with_name("fip64agent.conf")

    def write_config(self) -> None:
        """The configuration is the machine's."""

    def show(self, name: str) -> str:
        """Return one property of the unit, as ``systemctl show`` tells it."""
        return run("systemctl", "show", "-P", name, UNIT).stdout.strip()

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    @property
    def running(self) -> bool:
        return self.show("ActiveState") == "active"

    def start(self, wait: float = _PATIENCE) -> None:
        run("systemctl", "start", UNIT, timeout=wait)

    def stop(self, seconds: float = _PATIENCE) -> int | None:
        run("systemctl", "stop", UNIT, timeout=seconds)
        return int(self.show("ExecMainStatus"))

    def restart(self, wait: float = _PATIENCE) -> None:
        run("systemctl", "restart", UNIT, timeout=wait)

    def signal(self, number: int) -> None:
        run("systemctl", "kill", "--kill-whom=main", f"--signal={number}", UNIT)

    def kill(self) -> None:
        """Kill it; systemd starts it again."""
        before = self.pid
        self.signal(signal.SIGKILL)
        wait_for(lambda: self.pid != before, _PATIENCE, "the killed agent is gone")

    def wait_running(self, seconds: float = _PATIENCE) -> None:
        """Wait until the unit is active. Raises: RuntimeError."""
        wait_for(lambda: self.running, seconds, f"{UNIT} is active")

    def log(self) -> str:
        return run("journalctl", "-q", "-b", "-u", UNIT, "-o", "short-precise", "--no-pager").stdout


class InstalledOvs(SystemOvs):
    """The machine's Open vSwitch; the bridge may be there already, and stays."""

    def add_bridge(self, name: str, *settings: str) -> None:
        self.vsctl("--may-exist", "add-br", name, *settings)

    def stop(self) -> None:
        """It is the machine's."""


class InstalledLab(Lab):
    """One uplink; floating IPs routed and on-link; VMs with and without access tag, and with offloads.

    tenant a: vm-a, vm-link (on-link floating IP), vm-tso (all offloads on); tenant b: vm-b with the address
    of vm-a, vm-raw (without access tag). Built the same each time, so that a topology that is installed
    already stays as it is.
    """

    def __init__(self, translator: str) -> None:
        super().__init__(ovs="system", prefix="h-", directory="/run/fip64-lab", translator=translator)

    def _choose_ovs(self) -> InstalledOvs:
        self.private = False
        return InstalledOvs()

    def _make_agent(self) -> Unit:
        return Unit(self.directory)

    def _build(self) -> None:
        super()._build()
        self._add_further_vms()
        self._install_topology()
        for name in VMS:
            self[name].serve(wait=False)
        for name in VMS:
            self[name].wait_serving(_PATIENCE)

    def _add_further_vms(self) -> None:
        with self.topology.batch():
            self.connect_tenant("a", "uplink-net")
            self.add_vm("vm-link", "a", "10.0.0.6")
            self.topology.add_fip(FIP_ON_LINK, "vm-link")
            self.add_vm("vm-raw", "b", "10.0.0.6", bind=False).tag = None
            self.bind("vm-raw")
            self.topology.add_fip(FIP_UNTAGGED, "vm-raw")
            node = self.add_vm("vm-tso", "a", "10.0.0.7")
            self.topology.add_fip(FIP_OFFLOADS, "vm-tso")
        for netns, device in ((node.netns, "eth0"), (self.host, node.interface)):
            run("ethtool", "-K", device, "tx", "on", "tso", "on", "gso", "on", "gro", "on", netns=netns)

    def _install_topology(self) -> None:
        """The agent's file is replaced only by a different one: after a reboot it is as it was."""
        self.topology.path = TOPOLOGY
        if TOPOLOGY.read_text() != self.topology.text():
            self.topology.write()

    def offloads(self, name: str) -> dict[str, bool]:
        """Return the offloads of a VM's interface: {"tcp-segmentation-offload": True, ...}."""
        shown = json.loads(run("ethtool", "--json", "-k", "eth0", netns=self[name].netns).stdout)
        return {key: value["active"] for key, value in shown[0].items() if isinstance(value, dict)}

    # An uplink that is a bond

    def add_bond(self) -> list[str]:
        """Add an uplink that is a bond of two cables to one switch, and a tenant behind it with FIP_BOND.

        Returns the names of its members.
        """
        self._saved = copy.deepcopy(self.topology.data)
        first, second = _MEMBERS
        with self.topology.batch():
            port = self.add_uplink(first, "2001:db8:200::/64", router="edge-bond", bind=False)
            other = self.wire_to_host(second, self.upstream, second, self.topology.mac(), 1500)
            address = f"{self.uplinks[first]['upstream']}/64"
            self.upstream.ip(f"addr del {address} dev {first}",
                             "link add switch type bridge mcast_snooping 0",
                             f"link set {first} master switch", f"link set {second} master switch",
                             "link set switch up", f"addr add {address} dev switch nodad")
            self.add_external_network("external-bond", "2001:db8:e::/64", "edge-bond", via=first)
            self.add_tenant("c", external="external-bond")
            self.add_vm("vm-c", "c")
            self.topology.add_fip(FIP_BOND, "vm-c")
        members = [self.host_interface(first), other]
        self.ovs.vsctl("add-bond", self.bridge, _BOND, *members, "bond_mode=active-backup", "--",
                       "set", "Interface", members[0], f"external_ids:iface-id={port['id']}")
        return members

    def use_bond_member(self, member: str) -> None:
        """Make it the active one."""
        self.ovs.appctl("bond/set-active-slave", _BOND, member)

    def bond_member_down(self, member: str) -> None:
        """Take the carrier from it."""
        self.upstream.ip(f"link set {member.removeprefix(self._host_prefix)} down")

    def bond_member_up(self, member: str) -> None:
        """Give its carrier back."""
        self.upstream.ip(f"link set {member.removeprefix(self._host_prefix)} up")

    def remove_bond(self) -> None:
        """Take back what add_bond() did."""
        self.topology.data = self._saved
        self.topology.write()
        self.ovs.vsctl("--if-exists", "del-port", _BOND)
        self.unbind("vm-c")
        self.upstream.ip(*(f"link del {device}" for device in ("switch", *_MEMBERS)))
        namespaces.delete(self.nodes.pop("vm-c").netns)

    # Waiting

    def wait_installed(self, *addresses: str, seconds: float = _PATIENCE) -> None:
        """Wait until these floating IPs are active, by the agent's own account."""
        def active() -> bool:
            states = {row["floating_ip_address"]: row["state"] for row in self.agent.get("/fips")}
            return all(states.get(address) == "active" for address in addresses)

        wait_for(active, seconds, f"{', '.join(addresses)} are active", interval=0.5)

    def wait_settled(self, seconds: float = _PATIENCE) -> None:
        """Wait until the agent has done what is to be done, and a look at what is installed agrees."""
        wait_for(lambda: self.agent.get("/status")["settled"] and not self.agent.get("/diff")["changes"],
                 seconds, "the agent settles", interval=0.5)

    def wait_answers(self, *addresses: str, seconds: float = _PATIENCE) -> None:
        """Wait until the client gets an answer from each. Raises: RuntimeError."""
        self.wait_reachable(*addresses, seconds=seconds)

    # What there is

    def owned(self) -> dict[str, list[str]]:
        """All that carries the agent's marks here: flows, ports of Open vSwitch, links, namespaces."""
        links = json.loads(run("ip", "-j", "link", "show").stdout)
        ports = run("ovs-vsctl", "-f", "json", "--columns=name,external_ids", "list", "Interface").stdout
        return {
            "flows": [line for line in self.flows().splitlines() if "cookie=0xf164" in line],
            "ports": [name for name, ids in json.loads(ports)["data"]
                      if any(key == "fip64-owner" for key, _ in ids[1])],
            "links": [link["ifname"] for link in links if link.get("ifalias", "").startswith("fip64agent ")],
            "namespaces": [name for name in namespaces.names()
                           if name.startswith(self.agent.config["tayga"]["netns_prefix"])],
        }

    def translators(self) -> dict[int, str]:
        """Processes of the translator: pid -> command line."""
        found = {}
        for line in run("ps", "-eo", "pid=,args=").stdout.splitlines():
            pid, command = line.split(None, 1)
            if command.split()[0].rpartition("/")[2] == self.translator:
                found[int(pid)] = command
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--translator", choices=("tayga", "vpp"), required=True)
    serve(PORT, Objects(InstalledLab(parser.parse_args().translator)))


if __name__ == "__main__":
    main()
