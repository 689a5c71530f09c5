# SPDX-License-Identifier: Apache-2.0
"""What each floating IP asks for, on whichever host that may be: every host comes to the same result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fip64agent.net.special import reserved
from fip64agent.plan.base.routers import (
    ADDRESS_USERS,
    INTERFACES_ON_SUBNET,
    PREFIXES,
    AddressUser,
    RouterInterface,
)
from fip64agent.plan.inputs import FLOATINGIPS, NETWORKS, PORTS, ROUTERS, SUBNETS
from fip64agent.plan.nodes import Collected, Derived, edited_ids
from fip64agent.plan.problems import ERROR, Problem
from fip64agent.topology.model import FixedIP, FloatingIP, Port

RivalKey = int | tuple[str, int]
"""What only one floating IP can have: a floating address, or (router id, fixed address)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A floating IP whose references are sound."""

    fip_id: str
    floating_ip: IPv6Address
    network_id: str
    fixed_ip: IPv4Address
    router_id: str
    port_id: str
    vm_mac: str
    gateway: RouterInterface
    elsewhere: tuple[str, ...]
    """Ids of the router ports that have the floating address on another network."""


@dataclasses.dataclass(frozen=True, slots=True)
class _VmPort:
    """What a floating IP needs to know of its VM port."""

    mac: str
    fixed_ips: tuple[FixedIP, ...]
    numbers: tuple[int, ...]
    """The IPv4 addresses of `fixed_ips` as numbers, which are quick to compare; -1 for another address."""

    def only(self, wanted: IPv4Address | None) -> tuple[IPv4Address, str] | None:
        """Return the fixed IP with that address and its subnet's id, if there is just one."""
        if wanted is None or self.numbers.count(int(wanted)) != 1:
            return None
        return wanted, self.fixed_ips[self.numbers.index(int(wanted))].subnet_id


def _vm_port(ask, port_id: str) -> _VmPort | None:
    port = ask(PORTS, port_id)
    if port is None or port.is_router_port:
        return None
    addresses = [fixed.ip_address for fixed in port.fixed_ips]
    return _VmPort(port.mac_address, port.fixed_ips,
                   tuple([int(address) if address.version == 4 else -1 for address in addresses]))


_VM_PORTS = Derived("VM ports", _vm_port, (PORTS,))


@dataclasses.dataclass(frozen=True, slots=True)
class _VmSubnet:
    """What a floating IP needs to know of its fixed IP's subnet."""

    cidr: IPv4Network | IPv6Network
    inner: tuple[int, int]
    """First and last of the IPv4 addresses, as numbers, between its first and its last. (1, 0): none."""
    gateways: Mapping[str, RouterInterface]
    """By router id."""


def _vm_subnet(ask, subnet_id: str) -> _VmSubnet | None:
    subnet = ask(SUBNETS, subnet_id)
    if subnet is None:
        return None
    cidr = subnet.cidr
    inner = (int(cidr[0]) + 1, int(cidr[-1]) - 1) if cidr.version == 4 else (1, 0)
    return _VmSubnet(cidr, inner, ask(INTERFACES_ON_SUBNET, subnet_id))


_VM_SUBNET = Derived("subnet of VMs", _vm_subnet, (SUBNETS, INTERFACES_ON_SUBNET))


def _floating_prefixes(ask, network_id: str) -> tuple[tuple[int, int], ...] | None:
    """Return the first and last address of a network's IPv6 subnets, as numbers; None: no such network."""
    if ask(NETWORKS, network_id) is None:
        return None
    return tuple((int(prefix[0]), int(prefix[-1])) for prefix in ask(PREFIXES, network_id))


_FLOATING_PREFIXES = Derived("prefixes of a floating network", _floating_prefixes, (NETWORKS, PREFIXES))


def _claim(ask, fip_id: str, fip: FloatingIP) -> Claim | Problem | None:
    """Follow the references of a floating IP.

    Returns: None when it is not associated with a port. That is nobody's fault and waits for
    nothing on this host, so it is no problem either: its state is Neutron's "down".
    """
    port_id = fip.port_id
    if port_id is None:
        return None
    users: tuple[AddressUser, ...] = ()
    if fip.floating_ip_address.version == 6:
        users = ask(ADDRESS_USERS, int(fip.floating_ip_address))
        users = users and tuple(
            user for user in users if not user.is_port or ask(ROUTERS, user.router_id) is not None)
    fault = address_fault(fip, ask(_FLOATING_PREFIXES, fip.floating_network_id), users)
    if fault:
        return Problem(ERROR, fault)
    port = ask(_VM_PORTS, port_id)
    fixed = port.only(fip.fixed_ip_address) if port is not None else None
    if fixed is None:
        fixed = fixed_ip(fip, ask(PORTS, port_id))
        if isinstance(fixed, str):
            return Problem(ERROR, fixed)
    address, subnet_id = fixed
    subnet = ask(_VM_SUBNET, subnet_id)
    # What is between the first and the last address needs no closer look; numbers are quick to compare.
    if subnet is None or not subnet.inner[0] <= int(address) <= subnet.inner[1] or reserved(address):
        fault = fixed_ip_fault(address, port_id, subnet_id, subnet and subnet.cidr)
        if fault:
            return Problem(ERROR, fault)
    named = fip.router_id
    gateway = subnet.gateways.get(named) if named is not None else None
    if gateway is None:
        known = named is not None and ask(ROUTERS, named) is not None
        gateway = gateway_of(fip, subnet_id, subnet.gateways, known)
        if isinstance(gateway, str):
            return Problem(ERROR, gateway)
    return Claim(fip_id, fip.floating_ip_address, fip.floating_network_id, address, gateway.router_id,
                 port_id, port.mac, gateway, tuple(user.id for user in users if user.is_port))


CLAIMS = Derived("claims of floating IPs", _claim, each=FLOATINGIPS, reads=(
    ADDRESS_USERS, ROUTERS, _FLOATING_PREFIXES, _VM_PORTS, PORTS, _VM_SUBNET))
"""By floating IP id: a Claim, or a Problem."""


def _rival_keys(fip_id: str, claim: Claim | Problem) -> tuple[tuple[RivalKey, tuple[str]], ...]:
    if isinstance(claim, Problem):
        return ()
    address_key, fixed_key = rival_keys(claim)
    alone = (fip_id,)
    return (address_key, alone), (fixed_key, alone)


def _rivals(ids: tuple[str, ...] | None, gone: list, come: list) -> tuple[str, ...] | None:
    if ids is None and len(come) == 1:  # by far the most: both keys share the one tuple
        return come[0]
    return edited_ids(ids, [fip_id for fip_id, in gone], [fip_id for fip_id, in come])


def rival_keys(claim: Claim) -> tuple[RivalKey, RivalKey]:
    """Return what a claim shares with its rivals: its floating address, and its fixed one."""
    return int(claim.floating_ip), (claim.router_id, int(claim.fixed_ip))


RIVALS = Collected("rivals", {CLAIMS: _rival_keys}, _rivals)
"""By RivalKey: ids of the floating IPs that claim the same, sorted."""


def _claimed_router(fip_id: str, claim: Claim | Problem) -> tuple[tuple[str, str], ...]:
    return () if isinstance(claim, Problem) else ((claim.router_id, fip_id),)


def _count(number: int | None, gone: list, come: list) -> int | None:
    return (number or 0) + len(come) - len(gone) or None


CLAIMED_ROUTERS = Collected("claimed routers", {CLAIMS: _claimed_router}, _count, empty=0)
"""By router id: how many floating IPs claim a fixed IP of it, here or elsewhere."""


# The rules of a sound topology

def address_fault(fip: FloatingIP, prefixes: tuple[tuple[int, int], ...] | None,
                  users: tuple[AddressUser, ...]) -> str:
    """Return why a floating address cannot be, "" when it can.

    prefixes: (first, last) of its network's IPv6 subnets, as numbers; None when there is no such network.
    users: what else has the address, on whichever network.
    """
    address, network_id = fip.floating_ip_address, fip.floating_network_id
    if address.version != 6:
        return f"floating address {address} is not an IPv6 address"
    if kind := reserved(address):
        return f"floating address {address} is {kind}, which is not translated"
    if prefixes is None:
        return f"floating network {network_id} does not exist"
    number = int(address)
    for first, last in prefixes:
        if first <= number <= last:
            break
    else:
        return f"floating address {address} is in no IPv6 subnet of network {network_id}"
    here = users and [user for user in users if user.network_id == network_id]
    if not here:
        return ""
    return f"floating address {address} is the address of {here[-1] if here[-1].is_port else here[0]}"


def fixed_ip(fip: FloatingIP, port: Port | None) -> tuple[IPv4Address, str] | str:
    """Return the fixed IP that a floating IP leads to and its subnet's id, or why there is none."""
    if port is None:
        return f"port {fip.port_id} does not exist"
    if port.is_router_port:
        return f"port {fip.port_id} is a router port, not a VM's"
    wanted = fip.fixed_ip_address
    if wanted is not None:
        subnets = [fixed.subnet_id for fixed in port.fixed_ips if fixed.ip_address == wanted]
        if not subnets:
            return f"port {fip.port_id} does not have the fixed IP {wanted}"
        return wanted, min(subnets)
    addresses = [(fixed.ip_address, fixed.subnet_id) for fixed in port.fixed_ips
                 if fixed.ip_address.version == 4]
    if not addresses:
        return f"port {fip.port_id} has no IPv4 address"
    if len(addresses) > 1:
        return (f"port {fip.port_id} has several IPv4 addresses "
                f"({', '.join(str(fixed[0]) for fixed in sorted(addresses))}): "
                "fixed_ip_address must say which")
    return addresses[0]


def fixed_ip_fault(address: IPv4Address, port_id: str | None, subnet_id: str,
                   cidr: IPv4Network | IPv6Network | None) -> str:
    """Return why a floating IP cannot lead to a fixed IP of the subnet with this CIDR, "" when it can.

    None: there is no such subnet.
    """
    if cidr is None:
        return f"subnet {subnet_id} of port {port_id}'s address {address} does not exist"
    if address not in cidr:
        return f"address {address} of port {port_id} is not in its subnet {subnet_id} ({cidr})"
    if problem := _not_a_hosts(address, subnet_id, cidr):
        return f"address {address} of port {port_id} is {problem}, which is not translated"
    return ""


def _not_a_hosts(address: IPv4Address, subnet_id: str, cidr: IPv4Network) -> str:
    """Return what a fixed IP is instead of a host's address; in a /31 both are hosts (RFC 3021)."""
    if cidr.prefixlen < 31:
        if address == cidr.network_address:
            return f"the network address of its subnet {subnet_id} ({cidr})"
        if address == cidr.broadcast_address:
            return f"the broadcast address of its subnet {subnet_id} ({cidr})"
    return reserved(address)


def gateway_of(fip: FloatingIP, subnet_id: str, on_subnet: Mapping[str, RouterInterface],
               known: bool) -> RouterInterface | str:
    """Return the tenant router's interface on the fixed IP's subnet, or why there is none.

    on_subnet: the routers' interfaces there, by router id. known: whether the router that the floating IP
    names exists.
    """
    if fip.router_id is not None:
        if fip.router_id in on_subnet:
            return on_subnet[fip.router_id]
        if not known:
            return f"router {fip.router_id} does not exist"
        return f"router {fip.router_id} has no interface on the fixed IP's subnet {subnet_id}"
    if not on_subnet:
        return f"no router has an interface on the fixed IP's subnet {subnet_id}"
    if len(on_subnet) > 1:
        return (f"several routers ({', '.join(sorted(on_subnet))}) have an interface on the fixed IP's "
                f"subnet {subnet_id}: router_id must say which")
    return next(iter(on_subnet.values()))
