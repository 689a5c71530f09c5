# SPDX-License-Identifier: Apache-2.0
"""A host with as many floating IPs as asked, as a topology document.

VM_PORTS ports, whatever the number of floating IPs: Open vSwitch itself is slow with more (with 10,000
ports, to add one takes it more than 30 s). So with 10,000 floating IPs each VM port has ten fixed IPs.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from fip64agent.topology.model import ROUTER_GATEWAY, ROUTER_INTERFACE

TENANTS = 100
VM_PORTS = 1000
SPARE = 1
"""Fixed IPs of each VM port without a floating IP: what is added at run time goes there."""
UPLINK = "uplink"
"""Name of the interface that the uplink's port is bound to."""
_FIPS = IPv6Network("2001:db8:f::/64")
_SUBNET = IPv4Network("10.0.0.0/16")


def uuid(kind: int, number: int) -> str:
    """Return the id of the resource with that number; `kind` sets resources of different kinds apart."""
    return f"{number:08x}-{kind:04x}-4000-8000-{number:012x}"


def _mac(kind: int, number: int) -> str:
    return ":".join(f"{octet:02x}" for octet in (0xFA, 0x16, kind, *number.to_bytes(3, "big")))


def port_id(vm: int) -> str:
    """Return the id of the VM port with that number."""
    return uuid(7, vm)


def interface(vm: int) -> str:
    """Return the name of the OVS interface of the VM port with that number."""
    return f"tap{vm:x}"


def fixed_ip(vm: int, number: int) -> str:
    """Return the VM port's fixed IP of that number. Every tenant has the same addresses."""
    return str(_SUBNET[0x100 + (vm // TENANTS) * 0x100 + number])


def floating_ip(number: int, vm: int, fixed: int) -> dict[str, Any]:
    """Return the resource of floating IP `number`, for fixed IP number `fixed` of a VM port."""
    return {"id": uuid(8, number), "floating_network_id": uuid(3, 0xFFFF),
            "floating_ip_address": str(_FIPS[0x10000 + number]), "port_id": port_id(vm),
            "fixed_ip_address": fixed_ip(vm, fixed)}


def _fixed(subnet: str, address: str) -> dict[str, str]:
    return {"subnet_id": subnet, "ip_address": address}


def document(fips: int) -> dict[str, list[dict[str, Any]]]:
    """Return the topology: VM port i belongs to tenant i % TENANTS; `fips` is a multiple of VM_PORTS.

    All tenants use the same subnet. The uplink is on a network of its own; floating IPs are routed to it.
    """
    if fips % VM_PORTS:
        raise ValueError(f"{fips} is no multiple of {VM_PORTS}")
    each = fips // VM_PORTS
    edge, wan, external = uuid(1, 0), uuid(3, 0xFFFE), uuid(3, 0xFFFF)
    wan6, external6 = uuid(4, 0xFFFE), uuid(4, 0xFFFF)
    networks = [{"id": wan, "name": "wan"}, {"id": external, "name": "external", "router:external": True}]
    subnets = [{"id": wan6, "network_id": wan, "ip_version": 6, "cidr": "2001:db8:ffff::/64",
                "gateway_ip": "2001:db8:ffff::1"},
               {"id": external6, "network_id": external, "ip_version": 6, "cidr": str(_FIPS),
                "gateway_ip": str(_FIPS[1])}]
    routers = [{"id": edge, "name": "edge"}]
    ports = [{"id": uuid(5, 0xFFFE), "network_id": wan, "mac_address": _mac(1, 0), "device_id": edge,
              "device_owner": ROUTER_GATEWAY, "fixed_ips": [_fixed(wan6, "2001:db8:ffff::2")]},
             {"id": uuid(5, 0xFFFF), "network_id": external, "mac_address": _mac(1, 1), "device_id": edge,
              "device_owner": ROUTER_INTERFACE, "fixed_ips": [_fixed(external6, str(_FIPS[1]))]}]
    for tenant in range(TENANTS):
        router, network, subnet = uuid(2, tenant), uuid(3, tenant), uuid(4, tenant)
        routers.append({"id": router, "name": f"tenant{tenant}"})
        networks.append({"id": network})
        subnets.append({"id": subnet, "network_id": network, "ip_version": 4, "cidr": str(_SUBNET),
                        "gateway_ip": str(_SUBNET[1])})
        ports += [{"id": uuid(5, tenant), "network_id": external, "mac_address": _mac(2, tenant),
                   "device_owner": ROUTER_GATEWAY, "device_id": router,
                   "fixed_ips": [_fixed(external6, str(_FIPS[0x100 + tenant]))]},
                  {"id": uuid(6, tenant), "network_id": network, "mac_address": _mac(3, tenant),
                   "device_owner": ROUTER_INTERFACE, "device_id": router,
                   "fixed_ips": [_fixed(subnet, str(_SUBNET[1]))]}]
    for vm in range(VM_PORTS):
        tenant = vm % TENANTS
        ports.append({"id": port_id(vm), "network_id": uuid(3, tenant), "mac_address": _mac(4, vm),
                      "fixed_ips": [_fixed(uuid(4, tenant), fixed_ip(vm, number))
                                    for number in range(each + SPARE)]})
    return {"networks": networks, "subnets": subnets, "routers": routers, "ports": ports,
            "floatingips": [floating_ip(number, number % VM_PORTS, number // VM_PORTS)
                            for number in range(fips)]}


def addition(fips: int, number: int) -> dict[str, Any]:
    """Return the floating IP that is added as number `number` (below VM_PORTS) to document(fips)."""
    return floating_ip(fips + number, number, fips // VM_PORTS)


def flow_count(fips: int, translator: str = "tayga") -> int:
    """Return how many flows of ours document(fips) leads to: counted by hand, not by the agent."""
    # NORMAL is there already: a new bridge has it.
    uplink = 2 + 4 + 2  # translator; Neighbor Discovery and MLD; the rest of both veths is dropped
    downlinks = TENANTS if translator == "tayga" else 1  # the rest of each is dropped
    # The reserved VLAN, the conjunction, two kinds of tags, the uplink's MAC; two prefixes and its own
    # link-local address, each as source and as target of two kinds of messages.
    # And each kind without a target that Open vSwitch can read.
    forged = 2 + 2 + 1 + 3 * 3 + 2
    # Per floating IP: there and back. Per VM port: ARP, and what it must not send.
    return uplink + downlinks + forged + 2 * fips + 2 * VM_PORTS
