# SPDX-License-Identifier: Apache-2.0
"""The part of a plan that follows the floating IPs, built at once or changed in small steps.

A full plan settles all floating IPs into an empty draft; an incremental one settles the few that
are affected into a draft of the previous plan. Both run the same code, so they agree. What the
previous plan holds is never changed: each mapping is copied before its first edit.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from fip64agent.plan import allocate, pools, tenants
from fip64agent.plan.bindings import Bindings
from fip64agent.plan.desired import ERROR, Desired, Gateway, Mapping64, ObjectKey, Problem, Tenant
from fip64agent.plan.editing import Editing
from fip64agent.plan.inputs import Allocations, Inputs
from fip64agent.plan.mappings import (
    Candidate,
    Claim,
    RivalKey,
    gateway,
    gateway_key,
    judge,
    mapping,
    resolve,
)
from fip64agent.plan.routers import Routers
from fip64agent.plan.uplinks import Uplinks

Verdict = Candidate | Problem | None
"""None: nothing is wanted, nothing is wrong (not associated, or no longer in the topology)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Index:
    """What an incremental plan looks up instead of going through everything. Never changed once made."""

    inputs: Inputs
    """What the plan was made from."""
    routers: Routers
    uplinks: Uplinks
    bound: Mapping[str, Bindings]
    """By port id: the interfaces that carry it."""
    claims: Mapping[str, Claim]
    """By floating IP id."""
    rivals: Mapping[RivalKey, tuple[str, ...]]
    """Ids of the floating IPs that claim the same, sorted."""
    by_port: Mapping[str, tuple[str, ...]]
    """By VM port id, existing or not: ids of its floating IPs, sorted."""
    members: Mapping[str, Mapping[str, str]]
    """By router id: the floating IPs that this host can fulfil, each with its uplink's id."""


class NumbersChanged(Exception):
    """VLAN IDs move between tenants that stay: that touches too much for an incremental plan."""


class Draft:
    """A plan under construction. Starts as `base`, whose index has the routers and uplinks of `inputs`."""

    def __init__(self, base: Desired, index: Index, inputs: Inputs, bound: Mapping[str, Bindings],
                 whole: bool):
        self._base, self._index, self._inputs, self._bound, self._whole = base, index, inputs, bound, whole
        self._claims: Editing[str, Claim] = Editing(index.claims)
        self._rivals: Editing[RivalKey, tuple[str, ...]] = Editing(index.rivals)
        self._by_port: Editing[str, tuple[str, ...]] = Editing(index.by_port)
        self._members: Editing[str, Mapping[str, str]] = Editing(index.members)
        self._tenants: Editing[str, Tenant] = Editing(base.tenants)
        self._mappings: Editing[str, Mapping64] = Editing(base.mappings)
        self._gateways: Editing[ObjectKey, Gateway] = Editing(base.gateways)
        self._problems: Editing[tuple[str, str], Problem] = Editing(base.problems)
        self._vlans: Mapping[str, int] = base.allocations.vlans

    def settle(self, fip_ids: Iterable[str]) -> None:
        """Bring these floating IPs, and what depends on them, to what `inputs` says.

        Raises: NumbersChanged, unless the draft is of a whole plan.
        """
        verdicts = self._judge(self._resolve(sorted(fip_ids)))
        gone, come = self._join(verdicts)
        without_vlan = self._number()
        self._build_tenants(gone, come, verdicts)
        self._build_mappings(verdicts, without_vlan)
        self._report_tenants(verdicts, without_vlan)
        self._build_gateways(verdicts)

    def result(self) -> Desired:
        """Return the finished plan, which shares with `base` all that did not change."""
        index = dataclasses.replace(
            self._index, inputs=self._inputs, bound=self._bound, claims=self._claims.result(),
            rivals=self._rivals.result(), by_port=self._by_port.result(), members=self._members.result())
        allocations = self._base.allocations
        if self._vlans != allocations.vlans:
            allocations = Allocations(MappingProxyType(self._vlans), allocations.tables)
        return dataclasses.replace(
            self._base, tenants=self._tenants.frozen(), mappings=self._mappings.frozen(),
            gateways=self._gateways.frozen(), problems=self._problems.frozen(), allocations=allocations,
            _index=index)

    def _resolve(self, fip_ids: Collection[str]) -> dict[str, Problem | None]:
        """Bring claims and rivals up to date.

        Returns: the floating IPs to judge anew, rivals included; those without a claim with the reason.
        """
        topology, routers = self._inputs.topology, self._index.routers
        outcome: dict[str, Problem | None] = {}
        contested: set[RivalKey] = set()
        for fip_id in fip_ids:
            fip = topology.floatingips.get(fip_id)
            self._file_under_port(fip_id, fip.port_id if fip else None)
            found = resolve(fip_id, fip, topology, routers) if fip else None
            claim = found if isinstance(found, Claim) else None
            outcome[fip_id] = found if claim is None else None
            was = self._claims.get(fip_id)
            if was != claim:
                old, new = was.rival_keys if was else (), claim.rival_keys if claim else ()
                for key in old:
                    if key not in new:
                        self._rivals.put(key, _without(self._rivals.get(key), fip_id))
                for key in new:
                    if key not in old:
                        self._rivals.put(key, _with(self._rivals.get(key), fip_id))
                if not self._whole:  # else all are judged anyway
                    contested.update(old, new)
                self._claims.put(fip_id, claim)
        for key in contested:
            for fip_id in self._rivals.get(key) or ():
                outcome.setdefault(fip_id, None)
        return outcome

    def _file_under_port(self, fip_id: str, port_id: str | None) -> None:
        old = None if self._whole else self._index.inputs.topology.floatingips.get(fip_id)
        old_port = old.port_id if old else None
        if old_port == port_id:
            return
        if old_port is not None:
            self._by_port.put(old_port, _without(self._by_port.get(old_port), fip_id))
        if port_id is not None:
            self._by_port.put(port_id, _with(self._by_port.get(port_id), fip_id))

    def _judge(self, outcome: Mapping[str, Problem | None]) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        routers, uplinks = self._index.routers, self._index.uplinks
        rivals = self._rivals.result()
        for fip_id, problem in outcome.items():
            claim = self._claims.get(fip_id)
            verdicts[fip_id] = problem if claim is None else judge(claim, rivals, routers, uplinks,
                                                                   self._bound.get(claim.port_id))
        return verdicts

    def _join(self, verdicts: Mapping[str, Verdict]):
        """Bring the tenants' members up to date.

        Returns: by router id the maps that go, and those that come.
        """
        gone: dict[str, list[tenants.Map]] = defaultdict(list)
        come: dict[str, list[tenants.Map]] = defaultdict(list)
        opened: dict[str, dict[str, str]] = {}

        def members(router_id: str) -> dict[str, str]:
            if router_id not in opened:
                opened[router_id] = dict(self._index.members.get(router_id, ()))
            return opened[router_id]

        for fip_id, verdict in verdicts.items():
            was = self._index.claims.get(fip_id)
            old_uplink = self._index.members.get(was.router_id, {}).get(fip_id) if was else None
            candidate = verdict if isinstance(verdict, Candidate) else None
            if candidate and candidate.claim is was and candidate.uplink.port_id == old_uplink:
                continue
            if old_uplink is not None:
                gone[was.router_id].append((was.fixed_ip, was.floating_ip))
                del members(was.router_id)[fip_id]
            if candidate:
                claim = candidate.claim
                come[claim.router_id].append((claim.fixed_ip, claim.floating_ip))
                members(claim.router_id)[fip_id] = candidate.uplink.port_id
        for router_id, fips in opened.items():
            self._members.put(router_id, fips or None)
        return gone, come

    def _number(self) -> Mapping[str, Problem]:
        """Give VLAN IDs to the tenants with members. Returns: why some have none, by router id."""
        live = self._members.result()
        first, last = self._inputs.settings.vlan_range
        vlans, without = allocate.allocate(live, self._inputs.allocations.vlans, first, last)
        if not self._whole:
            old = self._base.allocations.vlans
            if (len(old) != len(self._index.members)
                    or any(old.get(router_id, vlan) != vlan for router_id, vlan in vlans.items())):
                raise NumbersChanged
        self._vlans = vlans
        return {router_id: Problem(ERROR, f"no VLAN ID is free for router {router_id}: {len(vlans)} tenants "
                                          f"have all from {first} to {last} on this host")
                for router_id in without}

    def _build_tenants(self, gone: Mapping[str, list[tenants.Map]],
                       come: Mapping[str, list[tenants.Map]], verdicts: Mapping[str, Verdict]) -> None:
        uplinks = self._index.uplinks.uplinks
        # Whose veth got another OpenFlow port has all its floating IPs among the verdicts.
        members = {verdict.claim.router_id for verdict in verdicts.values() if isinstance(verdict, Candidate)}
        for router_id in gone.keys() | come.keys() | members:
            if router_id not in self._vlans:
                self._tenants.put(router_id, None)
                continue
            was = self._base.tenants.get(router_id)
            going, coming = gone.get(router_id, ()), come.get(router_id, ())
            maps = tenants.edited_maps(was.maps, going, coming) if was else tenants.sorted_maps(coming)
            bindings, _ = self._bindings(router_id, maps)
            served_by = set(self._members.get(router_id).values())
            routers = self._index.routers
            self._tenants.put(router_id, tenants.tenant(
                router_id, self._vlans[router_id], routers.pools[router_id], routers.shares[router_id],
                uplinks[min(served_by)].addresses[0].ip, min(uplinks[name].mtu for name in served_by),
                routers.mtus.get(router_id, 1500), maps, bindings, self._inputs.settings,
                self._inputs.interfaces))

    def _bindings(self, router_id: str, maps: Iterable[tenants.Map]):
        """Return the static bindings that a tenant with these maps can have, and why not the others."""
        share = self._index.routers.shares[router_id]
        return pools.apart(router_id, share.bindings, (floating for _, floating in maps),
                           self._index.uplinks.addresses)

    def _faults(self, router_id: str) -> tuple[str, ...]:
        """Return what somebody should mend about a tenant, whether it works in part or not at all."""
        tenant = self._tenants.get(router_id)
        _, clashes = self._bindings(router_id, tenant.maps) if tenant else ((), ())
        return self._index.routers.faults(router_id) + clashes

    def _build_mappings(self, verdicts: Mapping[str, Verdict], without_vlan: Mapping[str, Problem]) -> None:
        interfaces = self._inputs.interfaces
        for fip_id, verdict in verdicts.items():
            built, problem = None, verdict
            if isinstance(verdict, Candidate):
                tenant = self._tenants.get(verdict.claim.router_id)
                if tenant is None:
                    problem = without_vlan[verdict.claim.router_id]
                else:
                    built, problem = mapping(verdict, tenant, interfaces), verdict.notice
            self._mappings.put(fip_id, built)
            self._problems.put(("fip", fip_id), problem)

    def _claims_around(self, verdicts: Iterable[str]) -> Iterable[Claim]:
        """Yield the claims that these floating IPs had and have."""
        for fip_id in verdicts:
            was, now = self._index.claims.get(fip_id), self._claims.get(fip_id)
            if was is not None:
                yield was
            if now is not None and now is not was:
                yield now

    def _report_tenants(self, verdicts: Mapping[str, Verdict], without_vlan: Mapping[str, Problem]) -> None:
        """A tenant's fault is told once there is a floating IP that suffers from it."""
        touched = {claim.router_id for claim in self._claims_around(verdicts)}
        faults = {router_id: found for router_id in touched if (found := self._faults(router_id))}
        claiming = set()
        if faults:
            claiming = {claim.router_id for claim in self._claims.values()}
        for router_id in touched:
            problem = without_vlan.get(router_id)
            if router_id in claiming and router_id in faults:
                problem = Problem(ERROR, "; ".join(faults[router_id]))
            self._problems.put(("tenant", router_id), problem)

    def _build_gateways(self, verdicts: Mapping[str, Verdict]) -> None:
        """One for each VM port with a mapping and gateway address; the lowest floating IP's if several."""
        answers, served = self._inputs.settings.answer_arp, self._index.uplinks.serving
        ports, host = self._inputs.topology.ports, self._base.host
        guarded = host.guarded if host is not None else ()
        touched: dict[str, dict[ObjectKey, Gateway | None]] = defaultdict(dict)
        for claim in self._claims_around(verdicts):
            touched[claim.port_id][gateway_key(claim)] = None
        for port_id, wanted in touched.items():
            network_id = ports[port_id].network_id if port_id in ports else None
            # A network whose own IPv6 is of an uplink's prefixes too could not use it.
            own = self._index.routers.prefixes.get(network_id, ())
            isolates = (network_id is not None and network_id not in served
                        and not any(prefix.overlaps(other) for prefix in own for other in guarded))
            for fip_id in self._by_port.get(port_id) or ():
                found = self._mappings.get(fip_id)
                if found is not None:
                    claim = self._claims.get(fip_id)
                    key = gateway_key(claim)
                    if wanted.get(key) is None:
                        wanted[key] = gateway(claim, found, answers, isolates)
                        isolates = False
            for key, made in wanted.items():
                self._gateways.put(key, made)


def _with(ids: tuple[str, ...] | None, added: str) -> tuple[str, ...]:
    if not ids:
        return (added,)
    position = bisect_left(ids, added)
    return (*ids[:position], added, *ids[position:])


def _without(ids: tuple[str, ...], removed: str) -> tuple[str, ...] | None:
    return tuple(other for other in ids if other != removed) or None
