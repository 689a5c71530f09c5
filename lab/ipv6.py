# SPDX-License-Identifier: Apache-2.0
"""Networks and VMs with IPv6 of their own, in a lab. The VM's kernel is Linux, as it comes: it has addresses
by what it hears, checks that nobody else has them, and forgets neighbors that do not answer.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_network
from typing import Any

from lab import netns as namespaces
from lab.host import Lab
from lab.node import Node


def add_router(lab: Lab, name: str) -> None:
    """Add a router without any port."""
    lab.topology.add_router(name)


def add_network(lab: Lab, name: str, prefix: str, router: str | None = None, **subnet: Any) -> None:
    """Add network `net-<name>` with subnet `subnet-<name>`; with `router`, its port has the first address.

    `subnet`: more attributes of the subnet: ipv6_ra_mode and the like.
    """
    gateway = str(ip_network(prefix)[1])
    with lab.topology.batch() as topology:
        topology.add_network(f"net-{name}")
        topology.add_subnet(f"subnet-{name}", f"net-{name}", prefix, gateway_ip=gateway, **subnet)
        if router is not None:
            topology.add_router_port(f"{router}-on-{name}", router, f"net-{name}",
                                     {f"subnet-{name}": gateway})


def eui64(prefix: str, mac: str) -> str:
    """Return the address that SLAAC gives an interface (RFC 4862, section 5.5.3; RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(IPv6Address(ip_network(prefix).network_address.packed[:8] + identifier))


def add_vm(lab: Lab, name: str, network: str, address: str | None = None, *, bind: bool = True,
           tag: int | None = None, configured: bool = True, **port: Any) -> Node:
    """Add a VM on `net-<network>` with one IPv6 address in its subnet: None: the one of its MAC.

    `configured`: the address is set by hand, without a route; else the VM waits for advertisements.
    `tag`: access VLAN of its port on the bridge. `port`: more attributes of the port.
    """
    topology = lab.topology
    prefix = topology.find("subnets", f"subnet-{network}")["cidr"]
    mac = topology.mac()
    address = address or eui64(prefix, mac)
    made = topology.add_port(name, f"net-{network}", {f"subnet-{network}": address}, mac_address=mac,
                             device_owner="compute:nova", **port)
    node = Node(name, f"{lab.prefix}{name}", lab.directory)
    namespaces.add(node.netns)
    lab.nodes[name] = node
    namespaces.sysctl(node.netns, ipv6__conf__default__accept_ra=1, ipv6__conf__default__autoconf=1)
    node.address6, node.port_id, node.mac, node.tag = address, made["id"], mac, tag
    node.interface = lab.wire_to_host(name, node, "eth0", mac, 1500)
    if configured:
        node.ip(f"addr add {address}/{ip_network(prefix).prefixlen} dev eth0")
    if bind:
        lab.bind(name)
    return node
