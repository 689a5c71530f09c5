# SPDX-License-Identifier: Apache-2.0
"""Which resources have to be decided on anew when others changed. Pure.

What is looked for often (the floating IPs of a port, who claims an address) is on record; for what
changes seldom (networks, subnets, routers and their ports) all ports or floating IPs are gone
through once, which takes a millisecond for 10,000 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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


Moved = Mapping[str, Mapping[str, tuple[Standing, Standing]]]
"""By kind and id: the standings before and after of resources that changed."""


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
            return form.network_id, form.cidr, form.gateway_ip
        case Router() | AddressGroup() | SecurityGroup():
            return True
        case Port():
            return form.network_id, form.device_owner, form.device_id, form.fixed_ips
    return form


def of(resources: Resources, kind: str, moved: Moved) -> set[str]:
    """Return the ids of resources of a kind, but floating IPs, that refer to what changed."""
    if kind == "subnets":
        networks = _presence_changed(moved["networks"])
        return _matching(resources, kind, lambda subnet: subnet.network_id in networks, bool(networks))
    if kind == "security_groups":
        groups, address_groups = resources.came_or_went(kind), _presence_changed(moved["address_groups"])
        return _matching(resources, kind, lambda group: any(
            rule.remote_group_id in groups or rule.remote_address_group_id in address_groups
            for rule in group.rules), bool(groups or address_groups))
    if kind == "ports":
        networks, routers = _presence_changed(moved["networks"]), _presence_changed(moved["routers"])
        subnets, groups = moved["subnets"].keys(), _presence_changed(moved["security_groups"])
        # The first group gives a meaning to what all ports say of groups, and the last one takes it away.
        came_or_went = resources.came_or_went("security_groups")
        first_or_last = bool(came_or_went) and resources.newest["security_groups"].keys() <= came_or_went

        def refers(port: Port) -> bool:
            return (port.network_id in networks or (port.is_router_port and port.device_id in routers)
                    or any(fixed.subnet_id in subnets for fixed in port.fixed_ips)
                    or (bool(port.security_groups)
                        and (first_or_last or not groups.isdisjoint(port.security_groups))))

        return _matching(resources, kind, refers, bool(networks or routers or subnets or groups
                                                       or first_or_last))
    return set()


def routers(resources: Resources, port_ids: Iterable[str],
            moved: Mapping[str, tuple[Standing, Standing]]) -> set[str]:
    """Return the ids of the routers whose ports or subnets changed; port_ids: of ports decided on anew."""
    forms = [form for pair in moved.values() for standing in pair for form in standing.forms]
    forms += [port for port_id in port_ids if (port := resources.get("ports", port_id)) is not None]
    return {port.device_id for port in forms
            if port.is_router_port and resources.knows("routers", port.device_id)}


def floating_ips(resources: Resources, moved: Moved, port_ids: Iterable[str],
                 router_ids: set[str]) -> set[str]:
    """Return the ids of the floating IPs that what changed may concern.

    port_ids: of ports decided on anew; router_ids: whose NAT64 pool became usable or unusable.
    """
    ports = set(port_ids) | moved["ports"].keys()
    interfaces = set(_interface_subnets(moved["ports"]))
    ports |= _matching(resources, "ports", lambda port: any(fixed.subnet_id in interfaces
                                                            for fixed in port.fixed_ips), bool(interfaces))
    found = {fip_id for port_id in ports for fip_id in resources.floatingips_of_port.get(port_id)}
    found |= {key[1] for key, form in resources.last_good.items()
              if key[0] == "floatingips" and form.port_id in ports}
    found |= _with_addresses(resources, moved["ports"])
    return found | _by_reference(resources, moved, router_ids)


def _by_reference(resources: Resources, moved: Moved, router_ids: set[str]) -> set[str]:
    """Return those whose network, floating address or router is concerned."""
    networks = {network_id for network_id, (before, after) in moved["networks"].items()
                if before.presence != after.presence
                or getattr(before.in_force, "external", None) != getattr(after.in_force, "external", None)}
    routers = router_ids | _presence_changed(moved["routers"])
    prefixes, networks_around = [], set()
    for pair in moved["subnets"].values():
        for standing in pair:
            for form in standing:
                if isinstance(form, Unreadable):
                    networks_around |= form.mentions
                elif form is not None:
                    networks_around.add(form.network_id)
                    prefixes.append((form.network_id, form.cidr))

    def refers(fip: FloatingIP) -> bool:
        network_id = fip.floating_network_id
        if network_id in networks or fip.router_id in routers:
            return True
        if network_id not in networks_around:
            return False
        return ("floatingips", fip.id) in resources.topology.faults or any(
            network_id == around and fip.floating_ip_address in prefix for around, prefix in prefixes)

    found = _matching(resources, "floatingips", refers, bool(networks or routers or networks_around))
    if routers:
        found |= {fip_id for fip_id, fip in resources.topology.floatingips.items()
                  if fip.router_id in routers}
        found |= {key[1] for key, fault in resources.topology.faults.items()
                  if key[0] == "floatingips" and fault.needs is not None and fault.needs[1] in routers}
    return found


def _with_addresses(resources: Resources, moved: Mapping[str, tuple[Standing, Standing]]) -> set[str]:
    """Return the floating IPs that have, or would have, an address of ports that changed."""
    addresses = {fixed.ip_address for pair in moved.values() for standing in pair for port in standing.forms
                 for fixed in port.fixed_ips if fixed.ip_address.version == 6}
    if not addresses:
        return set()
    found = {fip_id for address in addresses for fip_id in resources.claimants["floatingips"].get(address)}
    for kind, item_id in resources.topology.faults:
        if kind == "floatingips":
            forms = resources.newest[kind].get(item_id), resources.last_good.get((kind, item_id))
            if any(getattr(form, "floating_ip_address", None) in addresses for form in forms):
                found.add(item_id)
    return found


def _interface_subnets(moved: Mapping[str, tuple[Standing, Standing]]) -> Iterator[str]:
    """Yield the ids of the subnets that router interfaces which changed are or were on."""
    for pair in moved.values():
        for standing in pair:
            for form in standing:
                if form is not None:
                    yield from places(form)


def _presence_changed(moved: Mapping[str, tuple[Standing, Standing]]) -> set[str]:
    return {item_id for item_id, (before, after) in moved.items() if before.presence != after.presence}


def _matching(resources: Resources, kind: str, refers: Callable[..., bool], any_at_all: bool) -> set[str]:
    """Return the ids of a kind's resources of which the newest or the last good form refers to something."""
    if not any_at_all:
        return set()
    found = {item_id for item_id, form in resources.newest[kind].items()
             if not isinstance(form, Unreadable) and refers(form)}
    found |= {key[1] for key, form in resources.last_good.items() if key[0] == kind and refers(form)}
    return found
