# SPDX-License-Identifier: Apache-2.0
"""The resources of a topology as its source has them, and which of them are in force.

They change resource by resource, and a change costs work for what depends on it. A faulty resource
costs itself and what needs it. One that worked before keeps its last good form until it is right
again or gone, as long as that form is right beside the others: so that a resource becomes faulty
changes nothing for the others.

The kinds are settled in the order of KINDS, as each refers to those before it; the routers' NAT64
pools, which must not overlap their subnets, after the ports. Of two resources of a kind that want the
same, the one that has it keeps it: what works does not go because of another one's fault. When neither
has it yet, as at the start, the one with the lower id gets it.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from ipaddress import IPv4Network
from types import MappingProxyType

from fip64agent.topology import dependents
from fip64agent.topology.claims import claims, conflicts, goes_first
from fip64agent.topology.dependents import Standing
from fip64agent.topology.model import (
    KINDS,
    ROUTER_INTERFACE,
    Fault,
    Finding,
    Key,
    Port,
    Resource,
    Router,
    Topology,
    Unreadable,
)
from fip64agent.topology.pools import binding_findings, pool_finding
from fip64agent.topology.records import Records
from fip64agent.topology.rules import check

Changes = Mapping[Key, Resource | Unreadable | None]
"""New forms of resources; None for those that are gone."""


class Resources(Records):
    """See above. Not for use by two threads at once."""

    def __init__(self, default_pool: IPv4Network) -> None:
        """default_pool: of routers that have no nat64_pool of their own."""
        super().__init__()
        self._default_pool = default_pool
        self._topology = Topology()
        self._changed: dict[str, set] = {}
        """Field of Topology -> keys that the update at hand has changed; a field is copied before its first
        change."""
        self._wanted: dict[Key, tuple[Hashable, ...]] = {}
        """The claims of resources that have a form with no other fault than that others have them."""
        self._in_need: Counter[Key] = Counter()
        """How many faulty resources need each faulty one."""

    @property
    def topology(self) -> Topology:
        """The result of the last update."""
        return self._topology

    def update(self, changed: Changes, default_pool: IPv4Network | None = None) -> Topology:
        """Take over changes and return the topology: the same object when nothing is different.

        Resources that did not change are the same objects as before, and so are kinds without any change.
        default_pool: another one, when the configuration changed.
        """
        self._before, self._faulty_at, self._changed = {}, None, {}
        dirty: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for (kind, item_id), form in changed.items():
            if self._give(kind, item_id, form):
                dirty[kind].add(item_id)
        pools = set()
        if default_pool is not None and default_pool != self._default_pool:
            self._default_pool = default_pool
            pools = set(self.newest["routers"])
        moved: dict[str, dict[str, tuple[Standing, Standing]]] = {}
        for kind in KINDS[:-1]:
            dirty[kind] |= dependents.of(self, kind, moved)
            moved[kind] = self._settle(kind, dirty[kind])
        pools |= dirty["routers"] | dependents.routers(self, dirty["ports"], moved["ports"])
        usability = self._settle_pools(pools)
        self._faulty_at = None
        dirty["floatingips"] |= dependents.floating_ips(self, moved, dirty["ports"], usability)
        self._settle("floatingips", dirty["floatingips"])
        self._tell_default_pools()
        self._before = {}
        return self._result()

    # -- changes ----------------------------------------------------------------------------

    def _give(self, kind: str, item_id: str, form: Resource | Unreadable | None) -> bool:
        """Take over a new form; return whether it is one."""
        forms, key = self.newest[kind], (kind, item_id)
        before = forms.get(item_id)
        if before == form:
            return False
        self._before.setdefault(key, self.standing(key))
        if form is None:
            del forms[item_id]
            self.last_good.pop(key, None)
        else:
            if before is not None and key not in self._faults:
                self.last_good[key] = before
            forms[item_id] = form
        if kind == "floatingips":
            old, new = (getattr(one, "port_id", None) for one in (before, form))
            if old != new:
                self.floatingips_of_port.drop(old, item_id)
                if new is not None:
                    self.floatingips_of_port.put(new, item_id)
        return True

    def _settle(self, kind: str, item_ids: Iterable[str]) -> dict[str, tuple[Standing, Standing]]:
        """Decide on resources of a kind, and on those that want what these had or have.

        Lower ids come first, and once more when what they wanted has become free after that.

        Returns: by id, the standings before and after of those that are not what others saw of them.
        """
        queue = list(item_ids)
        heapq.heapify(queue)
        queued, touched, retried = set(queue), set(), set()
        while queue:
            item_id = heapq.heappop(queue)
            queued.remove(item_id)
            touched.add(item_id)
            for other_id in self._settle_one(kind, item_id) - queued:
                if other_id < item_id:
                    if other_id in retried or (kind, other_id) not in self._wanted:
                        continue
                    retried.add(other_id)
                queued.add(other_id)
                heapq.heappush(queue, other_id)
        changed = {item_id: (self._before[kind, item_id], self.standing((kind, item_id)))
                   for item_id in touched}
        return {item_id: pair for item_id, pair in changed.items()
                if any(dependents.what_others_see(one) != dependents.what_others_see(other)
                       for one, other in zip(*pair, strict=True))}

    def _settle_one(self, kind: str, item_id: str) -> set[str]:
        """Decide on a resource; return the ids of those that have to be decided on because of that."""
        key = kind, item_id
        known = self._before.setdefault(key, self.standing(key)).in_force
        held, was_right = self._in_force[kind].get(item_id), key not in self._faults
        self._drop_claims(key, held)
        newest = self.newest[kind].get(item_id)
        found, fault = self._judge(key, newest) if newest is not None else (None, None)
        if fault is None:
            if kind != "routers":  # theirs may be needed yet: see _settle_pool()
                self.last_good.pop(key, None)
        else:
            if held is not None and was_right:
                self.last_good.setdefault(key, newest)  # a change has set another one
            if (last_good := self.last_good.get(key)) is not None:
                found, _ = self._judge(key, last_good)
                if found is not None:
                    fault = dataclasses.replace(fault, last_good_in_force=True)
        if found == known:
            found = known
        self._set_fault(key, fault)
        self._set_in_force(kind, item_id, found)
        for claim in claims(kind, found) if found is not None else ():
            self.claimants[kind].put(claim, item_id)
        return self._affected(key, held, found)

    def _judge(self, key: Key, form: Resource | Unreadable) -> tuple[Resource | None, Fault | None]:
        """Return a form, completed, if it is right, and else why it is not."""
        if isinstance(form, Unreadable):
            return None, Fault(form.findings)
        kind, item_id = key
        verdict = check(kind, form, self)
        if not verdict.right:
            return None, Fault(verdict.findings, None if verdict.findings else verdict.needs)
        wanted = tuple(claims(kind, verdict.item))
        findings = [finding for other_id in sorted(self._claiming(kind, wanted)) if other_id != item_id
                    and (other := self._in_force[kind].get(other_id)) is not None
                    and goes_first(self, kind, other, verdict.item)
                    for finding in conflicts(kind, verdict.item, other, self)]
        if not findings:
            return verdict.item, None
        for claim in wanted:
            self.claimants[kind].put(claim, item_id)
        self._wanted[key] = (*self._wanted.get(key, ()), *wanted)
        return None, Fault(tuple(findings))

    def _affected(self, key: Key, held: Resource | None, found: Resource | None) -> set[str]:
        """Return the ids of those that may be decided on otherwise now that another form is in force."""
        if held is found:
            return set()
        kind, item_id = key
        claimed = {claim for form in (held, found) if form is not None for claim in claims(kind, form)}
        return self._claiming(kind, claimed) - {item_id}

    def _claiming(self, kind: str, claimed: Iterable[Hashable]) -> set[str]:
        claimants = self.claimants[kind]
        return {item_id for claim in claimed for item_id in claimants.get(claim)}

    def _drop_claims(self, key: Key, held: Resource | None) -> None:
        kind, item_id = key
        for claim in claims(kind, held) if held is not None else ():
            self.claimants[kind].drop(claim, item_id)
        for claim in self._wanted.pop(key, ()):
            self.claimants[kind].drop(claim, item_id)

    # -- NAT64 pools ------------------------------------------------------------------------

    def _settle_pools(self, router_ids: Iterable[str]) -> set[str]:
        """Decide on the pools and bindings of routers; return those whose pool became usable or unusable."""
        changed = set()
        for router_id in router_ids:
            was_usable = self.pool_usable(router_id)
            self._unusable_pools.pop(router_id, None)
            if router_id in self._in_force["routers"]:
                self._settle_pool(router_id)
            if self.pool_usable(router_id) != was_usable:
                changed.add(router_id)
        return changed

    def _settle_pool(self, router_id: str) -> None:
        """Take that form of a router with whose pool and bindings nothing is wrong, else what is left of one.

        A router stays in force for its ports' sake whatever its pool is: only its floating IPs need that.
        """
        key = "routers", router_id
        before = self._before.setdefault(key, self.standing(key))
        newest, last_good = self.newest["routers"][router_id], self.last_good.get(key)
        fault, chosen = None, None
        for is_last_good, form in ((False, newest), (True, last_good)):
            findings: tuple[Finding, ...] = ()
            if isinstance(form, Unreadable):
                findings = form.findings
            elif form is not None and not (findings := check("routers", form, self).findings):
                overlap = pool_finding(form, self._default_pool, self._ports_of(router_id), self)
                router, findings = binding_findings(form, self._default_pool)
                if overlap is None and not findings:
                    self._take_router(router_id, form, fault, is_last_good)
                    return
                chosen = chosen or (is_last_good, router, overlap, findings)
                findings = (overlap, *findings) if overlap is not None else findings
            if not is_last_good:
                fault = Fault(findings)
        is_last_good, router, overlap, findings = chosen  # there is one, as the router is in force
        if before.faulty is None and before.in_force is not None:
            self.last_good.setdefault(key, newest)
        if overlap is not None:
            self._unusable_pools[router_id] = overlap
            if not is_last_good and router.nat64_pool is None:
                # That the default pool cannot be used is told once a floating IP suffers from it.
                fault = Fault(findings) if findings else None
        self._take_router(router_id, router, fault, is_last_good)

    def _take_router(self, router_id: str, router: Router, fault: Fault | None, is_last_good: bool) -> None:
        key = "routers", router_id
        if fault is None:
            self.last_good.pop(key, None)
        elif is_last_good:
            fault = dataclasses.replace(fault, last_good_in_force=True)
        self._set_fault(key, fault)
        held = self._before[key].in_force
        self._set_in_force("routers", router_id, held if held == router else router)

    def _ports_of(self, router_id: str) -> list[Port]:
        """Return a router's ports in force, by id."""
        ports = self._in_force["ports"]
        return [ports[port_id] for port_id in sorted(self.claimants["ports"].get(("router", router_id)))
                if port_id in ports and ports[port_id].device_id == router_id]

    def _tell_default_pools(self) -> None:
        """Tell of routers' unusable default pools while floating IPs suffer from that."""
        for router_id, finding in self._unusable_pools.items():
            key = "routers", router_id
            if self._in_force["routers"][router_id].nat64_pool is not None:
                continue  # told already
            held = self._faults.get(key)
            others = tuple(other for other in held.findings if other != finding) if held is not None else ()
            findings = (finding, *others) if self._in_need[key] else others
            last_good = held is not None and held.last_good_in_force
            if not last_good:
                self._set_fault(key, Fault(findings) if findings else None)

    # -- what is in force -------------------------------------------------------------------

    def _set_in_force(self, kind: str, item_id: str, item: Resource | None) -> None:
        held = self._in_force[kind].get(item_id)
        if item is held:
            return
        if kind not in self._changed:  # what was handed out stays as it is
            self._changed[kind] = set()
            self._in_force[kind] = dict(self._in_force[kind])
        self._changed[kind].add(item_id)
        if kind == "ports":
            for form, change in ((held, self._interfaces.drop), (item, self._interfaces.put)):
                if form is not None and form.device_owner == ROUTER_INTERFACE:
                    for fixed in form.fixed_ips:
                        change(fixed.subnet_id, item_id)
        if item is None:
            del self._in_force[kind][item_id]
        else:
            self._in_force[kind][item_id] = item

    def _set_fault(self, key: Key, fault: Fault | None) -> None:
        held = self._faults.get(key)
        if fault is not None:
            form = self.newest[key[0]][key[1]]
            form = None if isinstance(form, Unreadable) else form
            if fault == held and form is held.form:
                return
            fault = dataclasses.replace(fault, form=form)
        elif held is None:
            return
        if "faults" not in self._changed:
            self._changed["faults"] = set()
            self._faults = dict(self._faults)
        self._changed["faults"].add(key)
        if held is not None and held.needs is not None:
            self._in_need[held.needs] -= 1
            if not self._in_need[held.needs]:
                del self._in_need[held.needs]
        if fault is None:
            del self._faults[key]
        else:
            self._faults[key] = fault
            if fault.needs is not None:
                self._in_need[fault.needs] += 1

    def _result(self) -> Topology:
        fields = {}
        for name, keys in self._changed.items():
            held = getattr(self._topology, name)
            now = self._faults if name == "faults" else self._in_force[name]
            if any(_differ(held.get(key), now.get(key)) for key in keys):
                fields[name] = MappingProxyType(now)
        if fields:
            self._topology = dataclasses.replace(self._topology, **fields)
        return self._topology


def _differ(before: Resource | Fault | None, after: Resource | Fault | None) -> bool:
    return before != after or (isinstance(after, Fault) and before.form != after.form)
