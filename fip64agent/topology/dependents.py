# SPDX-License-Identifier: Apache-2.0
"""Which resources have to be decided on anew when others changed. Pure.

What is looked for often (the floating IPs of a port, who claims an address) is on record; for what
changes seldom (networks, subnets, routers and their ports) all ports or floating IPs are gone
through once, which takes a millisecond for 10,000 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from fip64agent.topology.model import (
    ROUTER_INTERFACE,
    AddressGroup,
    FloatingIP,
    Network,
    Port,
    Resource,
    Router,
    SecurityGroup,
    Subnet,
    Unreadable,
)

if TYPE_CHECKING:
    from fip64agent.topology.resources import Resources


class Standing(NamedTuple):
    """What others may have seen of a resource."""

    in_force: Resource | None
    faulty: Resource | Unreadable | None
    """The newest form, if it is not right."""

    @property
    def forms(self) -> Iterator[Resource]:
        """The readable ones."""
        return (form for form in self if form is not None and not isinstance(form, Unreadable))

    @property
    def presence(self) -> int:
        """2: in force; 1: known, but not in force; 0: there is none."""
        return 2 if self.in_force is not None else 1 if self.faulty is not None else 0


Moved = Mapping[str, tuple[Standing, Standing]]
"""By id: the standings before and after of resources of a kind."""


def places(form: Resource | Unreadable) -> Iterable[str]:
    """Return where others look for a faulty resource: a subnet's network, a router interface's subnets."""
    if isinstance(form, Unreadable):
        return form.mentions
    if isinstance(form, Subnet):
        return (form.network_id,)
    if form.device_owner == ROUTER_INTERFACE:
        return [fixed.subnet_id for fixed in form.fixed_ips]
    return ()


def what_others_see(form: Resource | Unreadable | None) -> object:
    """Return what the rules of other resources look at in one."""
    match form:
        case Network():
            return form.external
        case Subnet():
            return form.network_id, form.cidr
        case Router() | AddressGroup() | SecurityGroup():
            return True
        case Port():
            return form.network_id, form.device_owner, form.device_id, form.fixed_ips
    return form


def after(resources: Resources, kind: str, decided: set[str], moved: Moved) -> dict[str, set[str]]:
    """Return, by kind, the ids of the resources that resources of a kind concern which were decided on.

    kind, and those returned: "pools" stands for the routers' NAT64 pools. decided: the ids of all that were
    decided on; moved: those of them that others see differently now.
    """
    match kind:
        case "networks":
            networks = _presence_changed(moved)
            return {
                "subnets": _matching(resources, "subnets", lambda subnet: subnet.network_id in networks,
                                     bool(networks)),
                "ports": _matching(resources, "ports", lambda port: port.network_id in networks,
                                   bool(networks)),
                "floatingips": _by_reference(resources, networks={
                    network_id for network_id, (before, after) in moved.items()
                    if before.presence != after.presence or _external(before) != _external(after)})}
        case "subnets":
            return {
                "ports": _matching(resources, "ports", lambda port: any(
                    fixed.subnet_id in moved for fixed in port.fixed_ips), bool(moved)),
                "floatingips": _by_reference(resources, subnets=moved)}
        case "routers":
            routers = _presence_changed(moved)
            return {
                "ports": _matching(resources, "ports", lambda port: (
                    port.is_router_port and port.device_id in routers), bool(routers)),
                "pools": decided,
                "floatingips": _by_reference(resources, routers=routers)}
        case "address_groups":
            groups = _presence_changed(moved)
            return {"security_groups": _matching(resources, "security_groups", lambda group: any(
                rule.remote_address_group_id in groups for rule in group.rules), bool(groups))}
        case "security_groups":
            return _of_groups(resources, decided, moved)
        case "ports":
            return {"pools": _routers(resources, decided, moved),
                    "floatingips": _of_ports(resources, decided, moved)}
        case "pools":
            return {"floatingips": _by_reference(resources, routers=moved.keys())}
    return {}


def _external(standing: Standing) -> bool | None:
    return getattr(standing.in_force, "external", None)


def _of_groups(resources: Resources, decided: set[str], moved: Moved) -> dict[str, set[str]]:
    """Return the security groups that name one which came or went, and the ports of groups that changed."""
    groups = _presence_changed(moved)
    known = {group_id for group_id, (before, after) in moved.items()
             if bool(before.presence) != bool(after.presence)}
    # The first group gives a meaning to what all ports say of groups, and the last one takes it away.
    first_or_last = bool(known) and resources.newest["security_groups"].keys() <= known
    return {
        "security_groups": _matching(resources, "security_groups", lambda group: any(
            rule.remote_group_id in known for rule in group.rules), bool(known)) - decided,
        "ports": _matching(resources, "ports", lambda port: bool(port.security_groups) and (
            first_or_last or not groups.isdisjoint(port.security_groups)), bool(groups))}


def _routers(resources: Resources, port_ids: Iterable[str], moved: Moved) -> set[str]:
    """Return the ids of the routers whose ports or subnets changed; port_ids: of ports decided on anew."""
    forms = [form for pair in moved.values() for standing in pair for form in standing.forms]
    forms += [port for port_id in port_ids if (port := resources.get("ports", port_id)) is not None]
    return {port.device_id for port in forms
            if port.is_router_port and resources.knows("routers", port.device_id)}


def _of_ports(resources: Resources, port_ids: set[str], moved: Moved) -> set[str]:
    """Return the ids of the floating IPs of ports that were decided on, or that share a subnet with a router
    interface that changed."""
    interfaces = set(_interface_subnets(moved))
    ports = port_ids | _matching(resources, "ports", lambda port: any(
        fixed.subnet_id in interfaces for fixed in port.fixed_ips), bool(interfaces))
    found = {fip_id for port_id in ports for fip_id in resources.floatingips_of_port.get(port_id)}
    return found | {key[1] for key, form in resources.last_good.items()
                    if key[0] == "floatingips" and form.port_id in ports}


def _by_reference(resources: Resources, networks: Collection[str] = (), routers: Collection[str] = (),
                  subnets: Moved = MappingProxyType({})) -> set[str]:
    """Return the floating IPs whose network, router or floating address is concerned."""
    prefixes: dict[str, list] = {}
    networks_around = set()
    for pair in subnets.values():
        for standing in pair:
            for form in standing:
                if isinstance(form, Unreadable):
                    networks_around |= form.mentions
                elif form is not None:
                    networks_around.add(form.network_id)
                    prefixes.setdefault(form.network_id, []).append(form.cidr)

    def refers(fip: FloatingIP) -> bool:
        network_id = fip.floating_network_id
        if network_id in networks or fip.router_id in routers:
            return True
        if network_id not in networks_around:
            return False
        return ("floatingips", fip.id) in resources.faults or any(
            fip.floating_ip_address in prefix for prefix in prefixes.get(network_id, ()))

    found = _matching(resources, "floatingips", refers, bool(networks or routers or networks_around))
    if routers:
        found |= {fip_id for fip_id, fip in resources.in_force("floatingips").items()
                  if fip.router_id in routers}
        found |= {key[1] for key, fault in resources.faults.items()
                  if key[0] == "floatingips" and fault.needs is not None and fault.needs[1] in routers}
    return found


def _interface_subnets(moved: Moved) -> Iterator[str]:
    """Yield the ids of the subnets that router interfaces which changed are or were on."""
    for pair in moved.values():
        for standing in pair:
            for form in standing:
                if form is not None:
                    yield from places(form)


def _presence_changed(moved: Moved) -> set[str]:
    return {item_id for item_id, (before, after) in moved.items() if before.presence != after.presence}


def _matching(resources: Resources, kind: str, refers: Callable[..., bool], any_at_all: bool) -> set[str]:
    """Return the ids of a kind's resources of which the newest or the last good form refers to something."""
    if not any_at_all:
        return set()
    found = {item_id for item_id, form in resources.newest[kind].items()
             if not isinstance(form, Unreadable) and refers(form)}
    found |= {key[1] for key, form in resources.last_good.items() if key[0] == kind and refers(form)}
    return found
