# SPDX-License-Identifier: Apache-2.0
"""From a floating IP to its mapping, in three steps, each of which may end with a reason instead.

`resolve` looks at the topology alone, so every host comes to the same result. `judge` adds rivals
(other floating IPs that want the same) and this host. `mapping` adds the tenant's number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from fip64agent.net.special import reserved
from fip64agent.plan.bindings import Bindings, bound_twice, is_open, open_ofport, waiting_for
from fip64agent.plan.desired import ERROR, PENDING, Gateway, Mapping64, ObjectKey, Problem, Tenant, Uplink
from fip64agent.plan.inputs import REDIRECT_EXTERNAL_NETWORKS, Interface
from fip64agent.plan.routers import RouterInterface, Routers
from fip64agent.plan.uplinks import Uplinks
from fip64agent.topology.model import FloatingIP, Port, Subnet, Topology

RivalKey = int | tuple[str, int]
"""What only one floating IP can have: a floating address, or (router id, fixed address)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A floating IP whose references are sound: what it asks for, on whichever host that may be."""

    fip_id: str
    floating_ip: IPv6Address
    network_id: str
    fixed_ip: IPv4Address
    router_id: str
    port_id: str
    vm_mac: str
    gateway: RouterInterface

    @property
    def rival_keys(self) -> tuple[RivalKey, RivalKey]:
        return int(self.floating_ip), (self.router_id, int(self.fixed_ip))


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A claim that this host can fulfil: all that is missing is a number for the tenant."""

    claim: Claim
    uplink: Uplink
    interface: Interface
    """Of the VM port."""
    notice: Problem | None
    """What somebody should look at although the mapping works."""


def resolve(fip_id: str, fip: FloatingIP, topology: Topology,
            routers: Routers) -> Claim | Problem | None:
    """Follow the references of a floating IP.

    Returns: None when it is not associated with a port. That is nobody's fault and waits for
    nothing on this host, so it is no problem either: its state is Neutron's "down".
    """
    if fip.port_id is None:
        return None
    problem = _address_fault(fip, topology, routers)
    if problem:
        return Problem(ERROR, problem)
    port = topology.ports.get(fip.port_id)
    if port is None:
        return Problem(ERROR, f"port {fip.port_id} does not exist")
    if port.is_router_port:
        return Problem(ERROR, f"port {fip.port_id} is a router port, not a VM's")
    fixed = _fixed_ip(fip, port)
    if isinstance(fixed, str):
        return Problem(ERROR, fixed)
    fixed_ip, subnet_id = fixed
    subnet = topology.subnets.get(subnet_id)
    if subnet is None:
        return Problem(ERROR, f"subnet {subnet_id} of port {fip.port_id}'s address {fixed_ip} does not exist")
    if fixed_ip not in subnet.cidr:
        return Problem(ERROR, f"address {fixed_ip} of port {fip.port_id} is not in its subnet {subnet_id} "
                              f"({subnet.cidr})")
    if problem := _not_a_hosts(fixed_ip, subnet):
        return Problem(ERROR, f"address {fixed_ip} of port {fip.port_id} is {problem}, which is not "
                              "translated")
    gateway = _gateway(fip, subnet_id, topology, routers)
    if isinstance(gateway, str):
        return Problem(ERROR, gateway)
    return Claim(fip_id, fip.floating_ip_address, fip.floating_network_id, fixed_ip, gateway.router_id,
                 fip.port_id, port.mac_address, gateway)


def _address_fault(fip: FloatingIP, topology: Topology, routers: Routers) -> str | None:
    address, network_id = fip.floating_ip_address, fip.floating_network_id
    if address.version != 6:
        return f"floating address {address} is not an IPv6 address"
    if kind := reserved(address):
        return f"floating address {address} is {kind}, which is not translated"
    if network_id not in topology.networks:
        return f"floating network {network_id} does not exist"
    for prefix in routers.prefixes.get(network_id, ()):
        if address in prefix:
            break
    else:
        return f"floating address {address} is in no IPv6 subnet of network {network_id}"
    holder = routers.in_use.get((network_id, address))
    return f"floating address {address} is the address of {holder}" if holder else None


def _not_a_hosts(address: IPv4Address, subnet: Subnet) -> str:
    """Return what a fixed IP is instead of a host's address; in a /31 both are hosts (RFC 3021)."""
    if subnet.cidr.prefixlen < 31:
        if address == subnet.cidr.network_address:
            return f"the network address of its subnet {subnet.id} ({subnet.cidr})"
        if address == subnet.cidr.broadcast_address:
            return f"the broadcast address of its subnet {subnet.id} ({subnet.cidr})"
    return reserved(address)


def _fixed_ip(fip: FloatingIP, port: Port) -> tuple[IPv4Address, str] | str:
    """Return the fixed IP and its subnet's id, or why there is none."""
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


def _gateway(fip: FloatingIP, subnet_id: str, topology: Topology, routers: Routers) -> RouterInterface | str:
    """Return the tenant router's interface on the fixed IP's subnet, or why there is none."""
    on_subnet = routers.interfaces.get(subnet_id, {})
    if fip.router_id is not None:
        if fip.router_id in on_subnet:
            return on_subnet[fip.router_id]
        if fip.router_id not in topology.routers:
            return f"router {fip.router_id} does not exist"
        return f"router {fip.router_id} has no interface on the fixed IP's subnet {subnet_id}"
    if not on_subnet:
        return f"no router has an interface on the fixed IP's subnet {subnet_id}"
    if len(on_subnet) > 1:
        return (f"several routers ({', '.join(sorted(on_subnet))}) have an interface on the fixed IP's "
                f"subnet {subnet_id}: router_id must say which")
    return next(iter(on_subnet.values()))


def judge(claim: Claim, rivals: Mapping[RivalKey, tuple[str, ...]], routers: Routers, uplinks: Uplinks,
          bindings: Bindings | None) -> Candidate | Problem:
    """Decide whether this host can fulfil a claim.

    Of several floating IPs that claim the same, the lowest id has it, bound here or not, so that
    all hosts agree. Faults that somebody must repair are told before what is being waited for.
    """
    address_key, fixed_key = claim.rival_keys
    first = rivals[address_key][0]
    if first != claim.fip_id:
        return Problem(ERROR, f"floating address {claim.floating_ip} belongs to floating IP {first} already")
    first = rivals[fixed_key][0]
    if first != claim.fip_id:
        return Problem(ERROR, f"fixed IP {claim.fixed_ip} of router {claim.router_id} has floating IP "
                              f"{first} already")
    holder = uplinks.addresses.get(int(claim.floating_ip))
    if holder is not None:
        return Problem(ERROR, f"floating address {claim.floating_ip} is the address of uplink {holder}")
    fault = routers.pool_faults.get(claim.router_id)
    if fault:
        return Problem(ERROR, fault)
    uplink = uplinks.uplinks.get(uplinks.serving.get(claim.network_id, ""))
    if (uplink is not None and uplink.router_id != claim.router_id
            and claim.network_id not in routers.networks[claim.router_id]):
        return Problem(ERROR, f"router {claim.router_id} is not connected to the floating network "
                              f"{claim.network_id}")
    if not bindings:
        return Problem(PENDING, f"port {claim.port_id} is not bound on this host")
    if not is_open(bindings[0]):
        return waiting_for(claim.port_id, bindings[0])
    if uplink is None:
        return Problem(PENDING, f"no uplink on this host serves the floating network {claim.network_id}")
    return Candidate(claim, uplink, bindings[0], bound_twice(claim.port_id, bindings))


def mapping(candidate: Candidate, tenant: Tenant, interfaces: Mapping[str, Interface]) -> Mapping64:
    """Return the mapping of a floating IP in its tenant."""
    claim, uplink = candidate.claim, candidate.uplink
    on_link = claim.network_id == uplink.network_id
    redirected_alone = on_link and uplink.redirect == REDIRECT_EXTERNAL_NETWORKS
    return Mapping64(
        fip_id=claim.fip_id, floating_ip=claim.floating_ip, fixed_ip=claim.fixed_ip,
        router_id=claim.router_id, port_id=claim.port_id, uplink_id=uplink.port_id,
        on_link=on_link, uplink_ofport=uplink.active_ofport, uplink_mac=uplink.mac,
        table=uplink.table, uplink_members=uplink.members and tuple(sorted(uplink.members)),
        redirect_ofport=uplink.veth_ofport if redirected_alone else None,
        nd_ofport=uplink.nd_veth_ofport if redirected_alone else None,
        nd_netns=uplink.nd_netns, nd_peer=uplink.nd_peer,
        vlan=tenant.vlan, downlink_ofport=open_ofport(interfaces.get(tenant.interface)),
        downlink_vlan=None if tenant.own_interface else tenant.vlan,
        downlink_mac=tenant.mac, pool=tenant.pool,
        vm_ofport=candidate.interface.ofport, vm_mac=claim.vm_mac, gateway_mac=claim.gateway.mac)


def gateway_key(claim: Claim) -> ObjectKey:
    """Return the key of the gateway of a claim's VM port."""
    return (Gateway.kind, claim.port_id, claim.gateway.text)


def gateway(claim: Claim, found: Mapping64, answers: bool, isolates: bool) -> Gateway:
    """Return the tenant router's address as the mapping's VM port sees it."""
    return Gateway(claim.port_id, claim.gateway.address, claim.gateway.mac, found.vm_ofport, found.vm_mac,
                   answers, isolates)
