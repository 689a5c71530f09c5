# SPDX-License-Identifier: Apache-2.0
"""The state of every object - active, pending, error or down - and the reason. Pure.

An object is as good as the worst of what it stands on: a floating IP stands on its own flows, on
its VM port's, on its tenant, its uplink and the host; an uplink on at least one of its gateways. The
reason says what is wrong with the one that is at fault, and `cause` which one that is: what many stand on
is told once, with the number of those that suffer.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from ipaddress import IPv6Address

from fip64agent.admin.view import StandingView
from fip64agent.plan.desired import (
    ACTIVE,
    ERROR,
    PENDING,
    Desired,
    Gateway,
    Host,
    Mapping64,
    ObjectKey,
    PlanObject,
    Tenant,
    Uplink,
)
from fip64agent.plan.inputs import Interface
from fip64agent.reconcile.place import Failure
from fip64agent.topology.model import NOUNS, FloatingIP, Topology

DOWN = "down"
"""Neutron's state of a floating IP that is not associated with a port: nothing is missing."""
STATES = (ACTIVE, PENDING, ERROR, DOWN)
KINDS = ("uplink", "tenant", "fip")


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    state: str
    """One of STATES."""
    reason: str = ""
    cause: ObjectKey | None = dataclasses.field(default=None, compare=False)
    """What is at fault: an object's key, ("room", name) when a room cannot work; None: the object itself."""
    alike: str = dataclasses.field(default="", compare=False)
    """The reason without what is this object's own, when others may have the like; "": the reason."""


ROOM = "room"
_ACTIVE = State(ACTIVE)


def describe(failure: Failure) -> str:
    """Say in one sentence what failed."""
    verb = "remove" if failure.removing else "install"
    tries = f" ({failure.tries} tries)" if failure.tries > 1 else ""
    return f"{failure.room} cannot {verb} {failure.item}: {failure.reason}{tries}"


def silence(port_id: str, dead: Mapping[IPv6Address, StandingView]) -> str:
    """Say that next hops of an uplink do not answer, and since when."""
    verb = "does" if len(dead) == 1 else "do"
    since = datetime.fromtimestamp(max(standing.since for standing in dead.values()), UTC)
    return (f"{_gateways(dead)} of uplink {port_id} {verb} not answer Neighbor Solicitations "
            f"(since {since.isoformat(timespec='seconds')})")


def _gateways(addresses: Collection[IPv6Address]) -> str:
    """Name gateways: "gateway A", "gateways A and B"."""
    names = [str(address) for address in sorted(addresses)]
    return f"gateway {names[0]}" if len(names) == 1 else f"gateways {', '.join(names[:-1])} and {names[-1]}"


class States:
    """Answers for one moment: take a new one for each question from outside."""

    def __init__(self, desired: Desired, topology: Topology, interfaces: Mapping[str, Interface],
                 failures: list[Failure], blocked: Mapping[str, str],
                 carried_out: Callable[[PlanObject], bool],
                 standing: Callable[[Uplink, IPv6Address], StandingView | None]) -> None:
        self.desired = desired
        self.topology = topology
        self.interfaces = interfaces
        self.failures = failures
        self.blocked = dict(blocked)
        self._carried_out = carried_out
        self._standing = standing
        self._failed: dict[ObjectKey, list[Failure]] = defaultdict(list)
        for failure in failures:
            # A VM port's flows are made per gateway address; for its FIPs any of them counts.
            owner = tuple(failure.item.owner)
            self._failed[owner[:2] if owner[:1] == (Gateway.kind,) else owner].append(failure)
        self._gateways: dict[str, list[Gateway]] = defaultdict(list)
        for gateway in desired.gateways.values():
            self._gateways[gateway.port_id].append(gateway)
        self._bases: dict[ObjectKey, State] = {}
        self._working: dict[ObjectKey, State] = {}

    @classmethod
    def now(cls, agent) -> States:
        """Take the agent's state of this moment (`agent`: admin.view.AgentView)."""
        inputs = agent.inputs
        blocked = dict(agent.loop.blocked)
        # The loop asks a room when there is work to do; the operator wants to know at once.
        blocked.update((name, reason) for name, room in agent.rooms.items() if (reason := room.ready()))
        return cls(agent.loop.desired, inputs.topology if inputs else Topology(),
                   inputs.interfaces if inputs else {}, agent.loop.failures, blocked,
                   agent.loop.carried_out, agent.gateways.standing)

    # -- single objects ---------------------------------------------------------------------

    def uplink(self, port_id: str) -> State:
        """State of an uplink: a router port that is, or should be, bound here."""
        return self._base((Uplink.kind, port_id))

    def tenant(self, router_id: str) -> State:
        """State of one router's IPv4 address space on this host."""
        return self._base((Tenant.kind, router_id))

    def fip(self, fip_id: str) -> State:
        """State of a floating IP."""
        key = (Mapping64.kind, fip_id)
        if fip_id not in self.topology.floatingips and ("floatingips", fip_id) in self.topology.faults:
            return self._faulty(fip_id)
        mapping = self.desired.mappings.get(fip_id)
        if mapping is None:
            return self._problem(key) or self._unplanned(self.topology.floatingips.get(fip_id))
        return _worst(self._problem(key), self._failure(key),
                      self._failure((Gateway.kind, mapping.port_id)),
                      self._works((Tenant.kind, mapping.router_id)), self.uplink(mapping.uplink_id),
                      self._waiting(mapping, *self.gateways(mapping.port_id)))

    def state(self, kind: str, name: str) -> State:
        """State of the object of that kind (one of KINDS) and id."""
        return {Uplink.kind: self.uplink, Tenant.kind: self.tenant, Mapping64.kind: self.fip}[kind](name)

    def next_hops(self, port_id: str) -> dict[IPv6Address, StandingView]:
        """The next hops of an uplink, with what is known of each; empty when nobody watches them."""
        uplink = self.desired.uplinks.get(port_id)
        found = {address: self._standing(uplink, address) for address in uplink.next_hops} if uplink else {}
        return {address: standing for address, standing in found.items() if standing is not None}

    def silent(self, port_id: str) -> str:
        """Say which next hops of an uplink do not answer; "": none is known not to.

        Nobody can answer while the way there is not installed: then this says nothing.
        """
        uplink = self.desired.uplinks.get(port_id)
        if uplink is None or _worst(*self._ours(uplink.key)).state != ACTIVE:
            return ""
        dead = {address: standing for address, standing in self.next_hops(port_id).items()
                if standing.alive is False}
        return silence(port_id, dead) if dead else ""

    def gateways(self, port_id: str) -> list[Gateway]:
        """The tenant router's addresses as the VM port sees them."""
        return self._gateways.get(port_id, [])

    # -- all of a kind ----------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """Ids of all objects of a kind, those that are nothing but a problem too; sorted."""
        known = {Uplink.kind: self.desired.uplinks, Tenant.kind: self.desired.tenants,
                 Mapping64.kind: self.topology.floatingips}[kind]
        faulty = (name for what, name in self.topology.faults if what == "floatingips")
        return sorted({*known, *(name for what, name in self.desired.problems if what == kind),
                       *(faulty if kind == Mapping64.kind else ())})

    def all(self, kind: str) -> Iterator[tuple[str, State]]:
        """Yield (id, state) of all objects of a kind."""
        for name in self.names(kind):
            yield name, self.state(kind, name)

    # -- what an object's state is made of --------------------------------------------------

    def _base(self, key: ObjectKey) -> State:
        """State of an uplink or a tenant; computed once, as many floating IPs stand on it."""
        if (state := self._bases.get(key)) is None:
            state = _worst(*self._ours(key))
            if state.state == ACTIVE and key[0] == Uplink.kind:
                state = self._reached(key[1])
            state = self._bases[key] = _because_of(key, state)
        return state

    def _works(self, key: ObjectKey) -> State:
        """State of what is in the plan, without what somebody should mend although it works."""
        if (state := self._working.get(key)) is None:
            state = self._working[key] = _because_of(key, _worst(*self._ours(key)[1:]))
        return state

    def _ours(self, key: ObjectKey) -> list[State | None]:
        """What this host does for an uplink or a tenant."""
        obj, host = self.desired.find(key), (Host.kind,)
        found = [self._problem(key), self._failure(key), _because_of(host, self._failure(host))]
        if obj is not None:
            found.append(self._waiting(*filter(None, (self.desired.host, obj))))
        elif found[0] is None:
            found.append(State(PENDING, f"{key[0]} {key[1]} is not in the plan"))
        return found

    def _reached(self, port_id: str) -> State:
        """State of an uplink that is installed: one of its next hops must be alive, if it has any."""
        known = self.next_hops(port_id)
        if not known or any(standing.alive for standing in known.values()):
            return _ACTIVE
        if all(standing.alive is False for standing in known.values()):
            return State(ERROR, silence(port_id, known),
                         alike="their gateways do not answer Neighbor Solicitations")
        waited = [address for address, standing in known.items() if standing.alive is None]
        return State(PENDING, f"waits for {_gateways(waited)} of uplink {port_id} to answer Neighbor "
                              "Solicitations",
                     alike="wait for their gateways to answer Neighbor Solicitations")

    def _problem(self, key: ObjectKey) -> State | None:
        problem = self.desired.problems.get(key)
        if problem is None:
            return None
        fip = self.topology.floatingips.get(key[1]) if key[0] == Mapping64.kind else None
        alike = ""
        if fip is not None and fip.port_id is not None and problem.state == PENDING:
            alike = problem.reason.replace(f"port {fip.port_id} ", "its port ")
        return State(problem.state, problem.reason, alike=alike)

    def _failure(self, key: ObjectKey) -> State | None:
        failures = self._failed.get(key)
        if not failures:
            return None
        more = f" (and {len(failures) - 1} more failures)" if len(failures) > 1 else ""
        first = failures[0]
        verb = "remove" if first.removing else "install"
        return State(ERROR, describe(first) + more,
                     alike=f"{first.room} cannot {verb} what is theirs: {first.reason}")

    def _waiting(self, *objects: PlanObject) -> State | None:
        """Return what objects of the plan that did not fail still wait for."""
        for obj in objects:
            match obj:
                case Uplink(veth=name, veth_ofport=None) | Uplink(nd_veth=name, nd_veth_ofport=None):
                    return self._unopened(name)
                case Mapping64(downlink_ofport=None):
                    tenant = self.desired.tenants.get(obj.router_id)
                    return self._unopened(tenant.interface if tenant else "of the downlink")
        for room, reason in self.blocked.items():
            return State(PENDING, f"{room}: {reason}", (ROOM, room))
        if not all(self._carried_out(obj) for obj in objects):
            return State(PENDING, "is being installed")
        return None

    def _unopened(self, name: str) -> State:
        interface = self.interfaces.get(name)
        if interface and interface.error:
            return State(ERROR, f"Open vSwitch cannot open interface {name}: {interface.error}")
        for room, reason in self.blocked.items():
            return State(PENDING, f"{room}: {reason}", (ROOM, room))
        return State(PENDING, f"waits for Open vSwitch to open interface {name}")

    def _faulty(self, fip_id: str) -> State:
        """State of a floating IP that is not in force, as it, or what it needs, is faulty."""
        key = "floatingips", fip_id
        reason = self.topology.reason(key)
        at_fault = self.topology.at_fault(key)
        alike = "" if at_fault == key else (f"need {NOUNS[at_fault[0]]} {at_fault[1]}, which is faulty: "
                                            f"{self.topology.reason(at_fault)}")
        return State(ERROR, reason, alike=alike)

    @staticmethod
    def _unplanned(fip: FloatingIP | None) -> State:
        if fip is not None and fip.port_id is None:
            return State(DOWN, "not associated with a port")
        return State(PENDING, "not in the plan of this host yet")


def _because_of(key: ObjectKey, state: State | None) -> State | None:
    """Return the state with what is at fault, unless that was known before."""
    if state is None or state.state == ACTIVE or state.cause is not None:
        return state
    return dataclasses.replace(state, cause=key)


def _worst(*found: State | None) -> State:
    """Return the first error, else the first pending, else active."""
    pending = None
    for state in found:
        if state is None or state.state == ACTIVE:
            continue
        if state.state == ERROR:
            return state
        pending = pending or state
    return pending or _ACTIVE
