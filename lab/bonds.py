# SPDX-License-Identifier: Apache-2.0
"""An uplink by two wires that lead to one switch: a bond on the host, a bridge at the upstream router."""

from __future__ import annotations

import json
from typing import Any

from lab import netns as namespaces
from lab.host import EXTERNAL_PREFIX, UPLINK_PREFIX, Lab
from lab.shell import run

BOND, SWITCH = "bond0", "switch"


def bond_uplink(lab: Lab, name: str = "uplink", mode: str = "active-backup") -> tuple[str, str]:
    """Make a bond of an uplink that is not plugged in yet, and plug it in: iface-id is on its first member.

    Returns: the names of the two wires, which are those of the upstream router's ends as well.
    """
    uplink, upstream, second = lab.uplinks[name], lab.upstream, f"{name}2"
    end = lab.wire_to_host(second, upstream, second, lab.topology.mac(), 1500)
    length = UPLINK_PREFIX.rpartition("/")[2]
    upstream.ip(f"link add {SWITCH} type bridge mcast_snooping 0", f"link set {SWITCH} up",
                f"addr flush dev {name}", f"link set {name} master {SWITCH}",
                f"link set {second} master {SWITCH}",
                f"addr add {uplink['upstream']}/{length} dev {SWITCH} nodad",
                f"route replace {EXTERNAL_PREFIX} via {uplink['address']}")
    lab.ovs.vsctl("add-bond", lab.bridge, BOND, uplink["interface"], end, f"bond_mode={mode}",
                  "--", "set", "Interface", uplink["interface"], f"external_ids:iface-id={uplink['port_id']}")
    return name, second


def active(lab: Lab) -> str:
    """Return the name of the wire that the bond's frames leave by; "" when there is none."""
    mac = lab.ovs.vsctl("get", "Port", BOND, "bond_active_slave").stdout.strip().strip('"')
    listed: dict[str, Any] = json.loads(lab.ovs.vsctl(
        "-f", "json", "--columns=name,mac_in_use", "list", "Interface").stdout)
    return next((interface.removeprefix(lab.host_interface("")) for interface, address in listed["data"]
                 if address == mac), "")


def link_down(lab: Lab, wire: str) -> None:
    """Take the carrier from a wire."""
    run("ip", "-n", lab.upstream.netns, "link", "set", wire, "down")


def link_up(lab: Lab, wire: str) -> None:
    """Give a wire its carrier back."""
    namespaces.ip(lab.upstream.netns, f"link set {wire} up")
