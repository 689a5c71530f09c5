# SPDX-License-Identifier: Apache-2.0
"""What is on record of the resources of a topology, and what is asked of it to decide on one of them."""

from __future__ import annotations

from ipaddress import IPv6Address

from fip64agent.topology import dependents
from fip64agent.topology.claims import address_claim
from fip64agent.topology.dependents import Standing
from fip64agent.topology.model import KINDS, Fault, Finding, Key, Port, Resource, Subnet, Unreadable
from fip64agent.topology.multimap import Multimap


class Records:
    """See above. It is what rules.InForce describes."""

    def __init__(self) -> None:
        self.newest: dict[str, dict[str, Resource | Unreadable]] = {kind: {} for kind in KINDS}
        """All that the source has, as it has it."""
        self.last_good: dict[Key, Resource] = {}
        """Of resources that are faulty now: the form that was right last, in force or not."""
        self._in_force: dict[str, dict[str, Resource]] = {kind: {} for kind in KINDS}
        self._faults: dict[Key, Fault] = {}
        self.claimants: dict[str, Multimap] = {kind: Multimap() for kind in KINDS}
        """Claim -> ids of the resources that have or want it."""
        self._interfaces = Multimap()
        """Subnet id -> ids of the router interfaces in force on it."""
        self.floatingips_of_port = Multimap()
        """Port id -> ids of the floating IPs whose newest form leads to it."""
        self._unusable_pools: dict[str, Finding] = {}
        """Router id -> why its pool cannot be used, of routers in force."""
        self._faulty_at: dict[str, dict[str, str]] | None = None
        """See faulty_at(); None: to be found out."""
        self._before: dict[Key, Standing] = {}
        """The standings before the update at hand, of resources that it has changed or decided on."""

    # What the rules ask (rules.InForce)

    def get(self, kind: str, item_id: str) -> Resource | None:
        return self._in_force[kind].get(item_id)

    def knows(self, kind: str, item_id: str) -> bool:
        return item_id in self.newest[kind]

    def has_any(self, kind: str) -> bool:
        return bool(self.newest[kind])

    def subnets_of(self, network_id: str) -> list[Subnet]:
        return [subnet for item_id in self.claimants["subnets"].get(network_id)
                if (subnet := self._in_force["subnets"].get(item_id)) is not None
                and subnet.network_id == network_id]

    def routers_on(self, subnet_id: str) -> set[str]:
        ports = self._in_force["ports"]
        return {ports[port_id].device_id for port_id in self._interfaces.get(subnet_id)}

    def ports_at(self, subnet_id: str, address: IPv6Address) -> list[Port]:
        claim = address_claim(subnet_id, address)
        return [port for port_id in sorted(self.claimants["ports"].get(claim))
                if (port := self._in_force["ports"].get(port_id)) is not None
                and any(fixed.subnet_id == subnet_id and fixed.ip_address == address
                        for fixed in port.fixed_ips)]

    def faulty_at(self, kind: str, item_id: str) -> str | None:
        if self._faulty_at is None:
            self._faulty_at = {"subnets": {}, "ports": {}}
            for faulty_kind, faulty_id in sorted(self._faults):
                if faulty_kind in self._faulty_at:
                    for place in dependents.places(self.newest[faulty_kind][faulty_id]):
                        self._faulty_at[faulty_kind].setdefault(place, faulty_id)
        return self._faulty_at[kind].get(item_id)

    def pool_usable(self, router_id: str) -> bool:
        return router_id not in self._unusable_pools

    # What an update asks

    def in_force_before(self, kind: str, item_id: str) -> Resource | None:
        """Return the form that was in force before the update at hand."""
        before = self._before.get((kind, item_id))
        return self._in_force[kind].get(item_id) if before is None else before.in_force

    def came_or_went(self, kind: str) -> set[str]:
        """Return the ids of resources that the source has since the update at hand, or has no more."""
        return {item_id for (other, item_id), before in self._before.items()
                if other == kind and bool(before.presence) != (item_id in self.newest[kind])}

    def standing(self, key: Key) -> Standing:
        """Return what the others may see of a resource now."""
        kind, item_id = key
        faulty = self.newest[kind].get(item_id) if key in self._faults else None
        return Standing(self._in_force[kind].get(item_id), faulty)
