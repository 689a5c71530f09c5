# SPDX-License-Identifier: Apache-2.0
"""The resources of a topology as its source has them, and which of them are in force.

They change resource by resource, and a change costs work for what depends on it. A faulty resource
costs itself and what needs it. One that worked before keeps its last good form until it is right
again or gone, as long as that form is right beside the others: its fault alone changes nothing for the
others. Of two resources that want the same, the one that has it keeps it (claims.py): what works does not
go because of another one's fault.

update() decides on resources in stages: those that changed, then those that the decisions concern, until
none is left. The stages come in the order of KINDS, as each kind refers to those before it; the routers'
NAT64 pools, which must not overlap their subnets, after the ports. A decision can lead back to an earlier
stage: when a floating IP is gone, a port may have its address.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network

from fip64agent.topology.claims import (
    behind,
    claims,
    conflicts,
    goes_first,
    pool_overlaps,
    released,
    subnets_of_port,
    wanted,
)
from fip64agent.topology.dependents import Moved, Standing, after, what_others_see
from fip64agent.topology.model import (
    KINDS,
    ROUTER_INTERFACE,
    Fault,
    Finding,
    Key,
    Port,
    Resource,
    Router,
    Subnet,
    Topology,
    Unreadable,
)
from fip64agent.topology.multimap import Multimap
from fip64agent.topology.pools import JudgedPool, judge_pool
from fip64agent.topology.register import Register
from fip64agent.topology.rules import check
from fip64agent.topology.state import Judgement, State

Changes = Mapping[Key, Resource | Unreadable | None]
"""New forms of resources; None for those that are gone."""
_POOLS = "pools"
_STAGES = (*KINDS[:-1], _POOLS, KINDS[-1])
_MAX_ROUNDS = 5
"""After so many decisions on it in one update, a resource loses against whoever has what it wants."""
_NOTHING = Topology()


class Resources:
    """See above. Not for use by two threads at once."""

    def __init__(self, default_pool: IPv4Network, before: Topology = _NOTHING) -> None:
        """default_pool: of routers that have no nat64_pool of their own.

        before: what is in force already when the source says for the first time what it has.
        """
        self.default_pool = default_pool
        self.newest: dict[str, dict[str, Resource | Unreadable]] = {kind: {} for kind in KINDS}
        """All that the source has, as it has it."""
        self.last_good: dict[Key, Resource] = {}
        """Of resources that are faulty now: the form that was right last, in force or not."""
        self._state = State(self.newest, before)
        self.register = Register()
        self.floatingips_of_port = Multimap()
        """Port id -> ids of the floating IPs whose newest form leads to it."""
        self._unusable_pools: dict[str, Finding] = {}
        """Router id -> why its pool cannot be used, of routers in force."""
        # Of the update at hand:
        self._due: dict[str, set[str]] = {stage: set() for stage in _STAGES}
        """Stage -> ids of the resources that have to be decided on."""
        self._before: dict[Key, Standing] = {}
        """What others have seen of resources that changed, until they are told."""
        self._rounds: Counter[Key] = Counter()
        """How often each resource was decided on."""
        self._refused: set[Key] = set()
        """Resources whose newest form was found not to be right."""
        self._unusable_before: Mapping[str, Finding] = {}
        self._has_new_default_pool = False

    @property
    def topology(self) -> Topology:
        """The result of the last update; in an update, what was in force before it."""
        return self._state.topology

    def update(self, changed: Changes, default_pool: IPv4Network | None = None) -> Topology:
        """Take over changes and return the topology: the same object when nothing is different.

        Resources that did not change are the same objects as before, and so are kinds without any change.
        default_pool: another one, when the configuration changed.
        """
        self._unusable_before = self._unusable_pools
        self._has_new_default_pool = default_pool is not None and default_pool != self.default_pool
        for (kind, item_id), form in changed.items():
            if self._give(kind, item_id, form):
                self._due[kind].add(item_id)
        if self._has_new_default_pool:
            self.default_pool = default_pool
            self._due[_POOLS] |= self.newest["routers"].keys()
        while (stage := next((stage for stage in _STAGES if self._due[stage]), None)) is not None:
            due, self._due[stage] = self._due[stage], set()
            decided, moved = self._settle_pools(due) if stage == _POOLS else self._settle(stage, due)
            for later, ids in after(self, stage, decided, moved).items():
                self._due[later] |= ids
        for key in self._rounds.keys() - self.faults.keys():
            self.last_good.pop(key, None)
        self._tell_default_pools()
        # Each has something of every resource that was decided on: after the first update, of all.
        self._before, self._rounds, self._refused = {}, Counter(), set()
        return self._state.result()

    # -- what the rules ask -----------------------------------------------------------------

    @property
    def faults(self) -> Mapping[Key, Fault]:
        return self._state.faults

    def in_force(self, kind: str) -> Mapping[str, Resource]:
        return self._state.in_force[kind]

    def get(self, kind: str, item_id: str) -> Resource | None:
        return self._state.in_force[kind].get(item_id)

    def knows(self, kind: str, item_id: str) -> bool:
        return item_id in self.newest[kind]

    def has_any(self, kind: str) -> bool:
        return bool(self.newest[kind])

    def subnets_of(self, network_id: str) -> list[Subnet]:
        return [subnet for item_id in self.register.get("subnets", network_id)
                if (subnet := self.get("subnets", item_id)) is not None and subnet.network_id == network_id]

    def router_ports_on(self, subnet_id: str) -> Iterator[Port]:
        """Yield the router ports in force that have an address in a subnet."""
        return self._state.router_ports_on(subnet_id)

    def routers_on(self, subnet_id: str) -> set[str]:
        return {port.device_id for port in self._state.router_ports_on(subnet_id)
                if port.device_owner == ROUTER_INTERFACE}

    def faulty_at(self, kind: str, item_id: str) -> str | None:
        return self._state.faulty_at(kind, item_id)

    def pool_usable(self, router_id: str) -> bool:
        return router_id not in self._unusable_pools

    # -- what claims.py asks ----------------------------------------------------------------

    def refused(self, key: Key) -> bool:
        """Return whether the newest form of a resource was found not to be right in the update at hand."""
        return key in self._refused

    def pool_was_usable(self, router_id: str) -> bool:
        """Return whether a router had a NAT64 pool before the update at hand which the configuration, as it
        is now, still gives it."""
        before = self.topology.routers.get(router_id)
        return (before is not None and router_id not in self._unusable_before
                and not (self._has_new_default_pool and before.nat64_pool is None))

    def takes_from_pool(self, router: Router, port: Port, subnet: Subnet) -> bool:
        """Return whether a subnet that a router has a port on overlaps the NAT64 pool that it has."""
        return pool_overlaps(router, port, subnet, self.default_pool) and self._holds_pool(router)

    def _holds_pool(self, router: Router) -> bool:
        """Return whether a router has its own pool, or floating IPs in force that need the default one."""
        return router.nat64_pool is not None or any(
            fip.router_id == router.id for fip in self.in_force("floatingips").values())

    # -- changes ----------------------------------------------------------------------------

    def _give(self, kind: str, item_id: str, form: Resource | Unreadable | None) -> bool:
        """Take over a new form; return whether it is one."""
        forms, key = self.newest[kind], (kind, item_id)
        before = forms.get(item_id)
        if before == form:
            return False
        self._before.setdefault(key, self._standing(key))
        if form is None:
            del forms[item_id]
            self.last_good.pop(key, None)
        else:
            forms[item_id] = form
        if kind == "floatingips":
            old, new = (getattr(one, "port_id", None) for one in (before, form))
            if old != new:
                self.floatingips_of_port.drop(old, item_id)
                if new is not None:
                    self.floatingips_of_port.put(new, item_id)
        return True

    def _standing(self, key: Key) -> Standing:
        """Return what the others may see of a resource now."""
        kind, item_id = key
        faulty = self.newest[kind].get(item_id) if key in self.faults else None
        return Standing(self.get(kind, item_id), faulty)

    def _settle(self, kind: str, item_ids: Iterable[str]) -> tuple[set[str], Moved]:
        """Decide on resources of a kind, lower ids first, and on others of the kind that this concerns.

        Returns: the ids of all of them; and by id the standings before and after of those that are not what
        others saw of them.
        """
        queue = list(item_ids)
        heapq.heapify(queue)
        queued, decided, due = set(queue), set(), self._due[kind]
        while queue:
            item_id = heapq.heappop(queue)
            queued.remove(item_id)
            decided.add(item_id)
            self._decide(kind, item_id)
            for other_id in due - queued:
                heapq.heappush(queue, other_id)
            queued |= due
            due.clear()
        moved = {}
        for item_id in decided:
            key = kind, item_id
            pair = self._before.pop(key), self._standing(key)
            if any(what_others_see(one) != what_others_see(other) for one, other in zip(*pair, strict=True)):
                moved[item_id] = pair
        return decided, moved

    def _decide(self, kind: str, item_id: str) -> None:
        """Decide which form of a resource is in force, and note who has to be decided on because of that."""
        key = kind, item_id
        self._before.setdefault(key, self._standing(key))
        self._rounds[key] += 1
        held, before = self.get(kind, item_id), self.topology.get(kind, item_id)
        self.register.drop(key, claims(kind, held) if held is not None else ())
        newest = self.newest[kind].get(item_id)
        found, fault, losers = self._judge(key, newest) if newest is not None else Judgement(None, None)
        self._note_fault(key, fault)
        if fault is not None and (last_good := self._keep_last_good(key)) is not None:
            found, _, losers = self._judge(key, last_good)
            if found is not None:
                self._state.set_fault(key, dataclasses.replace(self.faults[key], last_good_in_force=True))
        if found == before:
            found = before
        self._state.put(key, found)
        if found is not None:
            self.register.put(key, claims(kind, found))
        if held is not None and held is not found:
            self._try_again(released(kind, held, self), key)
        for loser in losers:
            self._displace(loser)

    def _judge(self, key: Key, form: Resource | Unreadable) -> Judgement:
        """Check a form of a resource by itself, and against those that have or want the same."""
        if isinstance(form, Unreadable):
            return Judgement(None, Fault(form.findings))
        kind = key[0]
        verdict = check(kind, form, self)
        if not verdict.right:
            return Judgement(None, Fault(verdict.findings, None if verdict.findings else verdict.needs))
        if kind == "routers":
            return Judgement(verdict.item, None)  # what its pool overlaps is looked at after the ports
        one, findings, losers = (kind, verdict.item), [], []
        claimed = tuple(wanted(kind, verdict.item, self))
        for other_key in self.register.find(claimed):
            other = other_key[0], self.get(*other_key)
            if other_key == key or other[1] is None or not (
                    found := list(conflicts(one, other, self, self))):
                continue
            if self._rounds[key] > _MAX_ROUNDS or goes_first(self, other, one):
                findings += found
            else:
                losers.append(other_key)
        if not findings:
            return Judgement(verdict.item, None, losers)
        self.register.want(key, claimed)
        return Judgement(None, Fault(tuple(findings)))

    def _keep_last_good(self, key: Key) -> Resource | None:
        """Return the last good form of a resource that is faulty: what was in force when it became so.

        That is completed: it stays right when something new would make what was left out ambiguous.
        """
        before = self.topology.get(*key)
        if before is not None:
            self.last_good.setdefault(key, before)
        return self.last_good.get(key)

    def _note_fault(self, key: Key, fault: Fault | None) -> None:
        if fault is None:
            self._refused.discard(key)
        else:
            self._refused.add(key)
            form = self.newest[key[0]][key[1]]
            fault = dataclasses.replace(fault, form=None if isinstance(form, Unreadable) else form)
        self._state.set_fault(key, fault)

    def _try_again(self, freed: Iterable[Hashable], by: Key) -> None:
        """Have those decided on anew that want something which may be free now, but the one that freed it."""
        for key in self.register.wanting(tuple(freed)):
            if key != by and self._rounds[key] < _MAX_ROUNDS:
                self._due[key[0]].add(key[1])

    def _displace(self, key: Key) -> None:
        """Have a resource decided on anew that something is in force for now which it conflicts with.

        A router port may be in conflict because a subnet changed: that gives way first.
        """
        self._due[_POOLS if key[0] == "routers" else key[0]].add(key[1])
        if key[0] == "ports" and (port := self.get(*key)).is_router_port:
            self._due["subnets"] |= {fixed.subnet_id for fixed in port.fixed_ips if self.get(
                "subnets", fixed.subnet_id) is not self.topology.get("subnets", fixed.subnet_id)}

    # -- NAT64 pools ------------------------------------------------------------------------

    def _settle_pools(self, router_ids: set[str]) -> tuple[set[str], dict[str, None]]:
        """Decide on the pools and bindings of routers.

        Returns: the ids of the routers; and by id those whose pool became usable or unusable.
        """
        changed = {}
        self._unusable_pools = dict(self._unusable_pools)
        for router_id in sorted(router_ids):
            held, was_usable = self.get("routers", router_id), self.pool_usable(router_id)
            self._unusable_pools.pop(router_id, None)
            if held is not None:
                self._settle_pool(router_id)
            if self.pool_usable(router_id) != was_usable:
                changed[router_id] = None
            if router_id in changed or self.get("routers", router_id) is not held:
                self._try_again((behind(router_id),), ("routers", router_id))
        return router_ids, changed

    def _settle_pool(self, router_id: str) -> None:
        """Take that form of a router with whose pool and bindings nothing is wrong, else what is left of one.

        A router stays in force for its ports' sake whatever its pool is: only its floating IPs need that.
        """
        key, before = ("routers", router_id), self.topology.get("routers", router_id)
        newest = chosen = self._judge_pool(self.newest["routers"][router_id])
        fault = Fault(newest.findings) if newest.findings else None
        if fault is not None and (last_good := self._keep_last_good(key)) is not None:
            other = self._judge_pool(last_good)
            if newest.router is None or not other.findings:
                chosen, fault = other, dataclasses.replace(fault, last_good_in_force=True)
        if chosen.overlap is not None:
            self._unusable_pools[router_id] = chosen.overlap
            if chosen is newest and chosen.router.nat64_pool is None:
                # That the default pool cannot be used is told once a floating IP suffers from it.
                findings = tuple(finding for finding in fault.findings if finding is not chosen.overlap)
                fault = Fault(findings) if findings else None
        if fault is None:
            self.last_good.pop(key, None)
        self._note_fault(key, fault)
        self._state.put(key, before if before == chosen.router else chosen.router)

    def _judge_pool(self, form: Router | Unreadable) -> JudgedPool:
        """Look at a form's pool and bindings. From a pool that could be used before, others have to leave."""
        if isinstance(form, Unreadable):
            return JudgedPool(None, form.findings)
        if findings := check("routers", form, self).findings:
            return JudgedPool(None, findings)
        before = self.topology.routers.get(form.id)
        ports = [port for port_id in sorted(self.register.get("ports", behind(form.id)))
                 if (port := self.get("ports", port_id)) is not None and port.device_id == form.id]
        overlaps = [(port, subnet) for port in ports for subnet in subnets_of_port(port, self)
                    if pool_overlaps(form, port, subnet, self.default_pool)]
        if overlaps and self.pool_was_usable(form.id) and (
                before.nat64_pool == form.nat64_pool and self._holds_pool(form)):
            for port, _ in overlaps:
                self._displace(("ports", port.id))
            overlaps = []
        return judge_pool(form, self.default_pool, overlaps)

    def _tell_default_pools(self) -> None:
        """Tell of routers' unusable default pools while floating IPs suffer from that."""
        for router_id, finding in self._unusable_pools.items():
            key = "routers", router_id
            if self.get(*key).nat64_pool is not None:
                continue  # told already
            held = self.faults.get(key)
            others = tuple(other for other in held.findings if other != finding) if held is not None else ()
            findings = (finding, *others) if self._state.is_needed(key) else others
            if held is None or not held.last_good_in_force:
                self._note_fault(key, Fault(findings) if findings else None)
