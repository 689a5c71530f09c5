# SPDX-License-Identifier: Apache-2.0
"""The answers of the admin API, as plain data for JSON. Reads the agent, changes nothing."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import fip64agent
from fip64agent import hub
from fip64agent.admin.render import printable
from fip64agent.admin.state import DOWN, KINDS, STATES, State, States, describe
from fip64agent.plan.desired import ACTIVE, ERROR, PENDING, Gateway, Mapping64, Uplink
from fip64agent.reconcile.place import NOT_ASKED

WARNING = "warning"
"""Severity of what somebody should look at, but no object suffers from."""
_BREATH = 500
"""Rows made before other greenthreads get a turn."""
_NAMED = 100
"""Objects that a problem names, of those that share it."""
_COMPONENTS = ("os-ken", "eventlet", "pyroute2", "ovsdbapp")


def plain(value: Any) -> Any:
    """Turn dataclasses, mappings, sequences and addresses into what JSON knows."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else " ".join(map(str, name)): plain(item)
                for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def timestamp(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds is not None else None


def breathing(rows: Iterable) -> Iterable:
    """Yield the rows and let other greenthreads work in between."""
    for number, row in enumerate(rows):
        if number % _BREATH == _BREATH - 1:
            hub.sleep(0)
        yield row


# -- status ---------------------------------------------------------------------------------


def status(agent) -> dict[str, Any]:
    """What is wrong, counts, versions, times."""
    states = States.now(agent)
    counts = {kind: dict.fromkeys(STATES, 0) for kind in KINDS}
    groups: dict[tuple[str, State], list[str]] = defaultdict(list)
    for kind in KINDS:
        for name, state in breathing(states.all(kind)):
            counts[kind][state.state] += 1
            if state.state not in (ACTIVE, DOWN):
                groups[kind, _shared(states, kind, name, state)].append(name)
    problems = [*_agent_problems(agent, states), *_object_problems(states, groups)]
    problems.sort(key=lambda problem: (ERROR, WARNING, PENDING).index(problem["severity"]))
    worst = next((problem["severity"] for problem in problems if problem["severity"] != WARNING), ACTIVE)
    loop, error = agent.loop, agent.topology_error
    return {
        "state": worst,
        "problems": problems,
        "objects": counts,
        "installed": loop.counts(),
        "settled": loop.settled,
        "passes": loop.passes,
        "last_pass_seconds": round(loop.last_pass_seconds, 4),
        "applied": loop.applied,
        "pruned": loop.pruned,
        "failures": len(states.failures),
        "blocked": states.blocked,
        "topology": {"path": agent.topology_path, "loaded_at": timestamp(agent.topology_loaded_at),
                     "errors": [str(problem) for problem in error.problems] if error else []},
        "metrics": metrics_url(agent),
        "host": agent.conf.host,
        "translator": agent.rooms["translator"].kind,
        "translator_details": _translator(agent),
        "bridge": agent.conf.ovs.bridge,
        "pid": os.getpid(),
        "started_at": timestamp(agent.started_at),
        "uptime_seconds": round(time.time() - agent.started_at, 1),
        "versions": versions(),
    }


def _translator(agent) -> dict[str, Any]:
    """Why this translator, and the program behind it; None: there is no such thing."""
    about = agent.rooms["translator"].about()
    return {"chosen": agent.choice.reason, "launch": about.launch, "version": about.version, "pid": about.pid,
            "uptime_seconds": round(about.uptime, 1) if about.uptime is not None else None,
            "restarts": about.restarts, "probe_seconds": about.probe,
            "next_start_seconds": round(about.next_start, 1) if about.next_start is not None else None,
            "down": agent.rooms["translator"].ready()}


def _shared(states: States, kind: str, name: str, state: State) -> State:
    """Make the reason the same for all floating IPs that wait for the like, each for its own port."""
    fip = states.topology.floatingips.get(name) if kind == Mapping64.kind else None
    if fip is None or fip.port_id is None or state.state != PENDING:
        return state
    return State(state.state, state.reason.replace(f"port {fip.port_id}", "its port"))


def versions() -> dict[str, str]:
    """Versions of the agent and of what it is made of."""
    result = {"fip64agent": fip64agent.__version__, "python": platform.python_version()}
    for name in _COMPONENTS:
        try:
            result[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result


def metrics_url(agent) -> str | None:
    """Where metrics are served; None when they are not."""
    return agent.metrics.url if agent.metrics is not None else None


def _problem(severity: str, kind: str, text: str, reason: str, objects: Iterable[str] = (),
             details: Iterable[str] = ()) -> dict[str, Any]:
    names = list(objects)
    return {"severity": severity, "kind": kind, "text": text, "details": list(details), "reason": reason,
            "objects": names[:_NAMED], "count": len(names)}


def _agent_problems(agent, states: States) -> Iterable[dict[str, Any]]:
    """What is wrong with the agent as a whole."""
    if error := agent.topology_error:
        loaded = timestamp(agent.topology_loaded_at)
        kept = f"the last good one, of {loaded}, stays in force" if loaded else "none is in force"
        faults = [str(fault) for fault in error.problems]
        yield _problem(ERROR, "topology", f"the topology in {agent.topology_path} is refused; {kept}",
                       "refused", details=faults)
    elif agent.topology_loaded_at is None:
        yield _problem(PENDING, "topology", f"no topology was read yet from {agent.topology_path}",
                       "not read yet")
    for room, reason in states.blocked.items():
        first = reason == NOT_ASKED
        yield _problem(PENDING if first else ERROR, "room",
                       f"{room} cannot work now: {reason}; nothing is changed there until it can"
                       if not first else f"{room} waits for the first pass", reason, [room])
    if "translator" not in states.blocked and (trouble := agent.rooms["translator"].healthy()):
        yield _problem(ERROR, "translator", f"translator: {trouble}", trouble)
    if not agent.loop.alive:
        yield _problem(ERROR, "loop", "the reconcile loop shows no sign of life: restart the agent, "
                       "traffic is not touched by that", "no sign of life")
    for failure in states.failures:
        if failure.removing and states.desired.find(tuple(failure.item.owner)) is None:
            yield _problem(ERROR, "leftover", f"left behind: {describe(failure)}", failure.reason)
    if agent.metrics is not None and agent.metrics.problem:
        yield _problem(WARNING, "metrics", agent.metrics.problem, agent.metrics.problem)


_NOUNS = {"uplink": ("uplink", "uplinks"), "tenant": ("tenant", "tenants"),
          "fip": ("floating IP", "floating IPs")}


def _object_problems(states: States,
                     groups: Mapping[tuple[str, State], list[str]]) -> Iterable[dict[str, Any]]:
    """One problem for all objects of a kind that share the state and the reason."""
    for (kind, state), names in groups.items():
        shown = ", ".join(label(states, kind, name) for name in names[:5])
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        noun = _NOUNS[kind][0] if len(names) == 1 else f"{len(names)} {_NOUNS[kind][1]}"
        verb = "in error" if state.state == ERROR else "pending"
        yield _problem(state.state, kind, f"{noun} {verb}: {shown}{more}: {state.reason}", state.reason,
                       names)


def label(states: States, kind: str, name: str) -> str:
    """What an operator calls the object: a floating IP's address, else name and id."""
    topology = states.topology
    if kind == Mapping64.kind:
        fip = topology.floatingips.get(name)
        return str(fip.floating_ip_address) if fip else name
    resource = (topology.ports if kind == Uplink.kind else topology.routers).get(name)
    return f"{printable(resource.name)} ({name})" if resource and resource.name else name


# -- objects --------------------------------------------------------------------------------


def _name(resource, resource_id: str | None) -> str:
    """What people call it: its name, else its id."""
    return (resource.name if resource else "") or resource_id or ""


def uplinks(agent) -> list[dict[str, Any]]:
    states = States.now(agent)
    return [_uplink(states, name, state) for name, state in states.all(Uplink.kind)]


def _uplink(states: States, name: str, state: State) -> dict[str, Any]:
    port = states.topology.ports.get(name)
    network_id = port.network_id if port else None
    network = states.topology.networks.get(network_id)
    uplink = states.desired.uplinks.get(name)
    return {
        "port_id": name, "port": _name(port, name),
        "network_id": network_id, "network": _name(network, network_id),
        "router_id": uplink.router_id if uplink else (port.device_id if port else None),
        "interface": uplink.interface if uplink else None,
        "ofport": uplink.ofport if uplink else None,
        "addresses": plain(uplink.addresses) if uplink else [],
        "veth": uplink.veth if uplink else None,
        "veth_ofport": uplink.veth_ofport if uplink else None,
        "state": state.state, "reason": state.reason,
    }


def fips(agent) -> list[dict[str, Any]]:
    states = States.now(agent)
    return [_fip(states, name, state) for name, state in breathing(states.all(Mapping64.kind))]


def _fip(states: States, name: str, state: State) -> dict[str, Any]:
    fip = states.topology.floatingips.get(name)
    mapping = states.desired.mappings.get(name)
    router_id = mapping.router_id if mapping else (fip.router_id if fip else None)
    port_id = mapping.port_id if mapping else (fip.port_id if fip else None)
    router, port = states.topology.routers.get(router_id), states.topology.ports.get(port_id)
    return {
        "id": name,
        "floating_ip_address": str(mapping.floating_ip if mapping else fip.floating_ip_address)
        if mapping or fip else None,
        "fixed_ip_address": plain(mapping.fixed_ip if mapping else fip.fixed_ip_address)
        if mapping or fip else None,
        "router_id": router_id, "router": _name(router, router_id),
        "port_id": port_id, "port": _name(port, port_id),
        "uplink_id": mapping.uplink_id if mapping else None,
        "state": state.state, "reason": state.reason,
    }


def find_fip(states: States, what: str) -> str | None:
    """Return the id of the floating IP with that id or address (in any spelling), None if there is none."""
    known = states.topology.floatingips
    if what in known or what in states.desired.mappings:
        return what
    try:
        address = IPv6Address(what)
    except ValueError:
        return None
    return next((fip.id for fip in known.values() if fip.floating_ip_address == address), None)


def fip(agent, fip_id: str) -> dict[str, Any]:
    """All there is to know about one floating IP."""
    states = States.now(agent)
    result = _fip(states, fip_id, states.fip(fip_id))
    mapping = states.desired.mappings.get(fip_id)
    if mapping is None:
        return result
    uplink = states.desired.uplinks.get(mapping.uplink_id)
    tenant = states.desired.tenants.get(mapping.router_id)
    owners = (mapping.key, (Gateway.kind, mapping.port_id))
    return {
        **result,
        "vm_interface": interface_of(states, mapping.vm_ofport),
        "vm_ofport": mapping.vm_ofport,
        "vm_mac": mapping.vm_mac,
        "gateways": [str(gateway.address) for gateway in states.gateways(mapping.port_id)],
        "gateway_mac": mapping.gateway_mac,
        "nat64_pool": str(mapping.pool),
        "nat64_addresses": f"{tenant.pool_first}-{tenant.pool_last}" if tenant else None,
        "on_link": mapping.on_link,
        "uplink_interface": uplink.interface if uplink else None,
        "uplink_ofport": mapping.uplink_ofport,
        "uplink_veth": uplink.veth if uplink else None,
        "uplink_mac": mapping.uplink_mac,
        "uplink_table": mapping.table,
        "downlink_interface": tenant.interface if tenant else None,
        "downlink_ofport": mapping.downlink_ofport,
        "tenant_netns": tenant.netns if tenant else None,
        "tenant_vlan": tenant.vlan if tenant else None,
        "tenant_state": states.tenant(mapping.router_id).state,
        "uplink_state": states.uplink(mapping.uplink_id).state,
        "failures": [describe(failure) for failure in states.failures
                     if tuple(failure.item.owner)[:2] in owners],
    }


def find_router(states: States, what: str) -> str | None:
    """Return the id of the router with that id or, if only one has it, that name."""
    if what in states.topology.routers or what in states.desired.tenants:
        return what
    named = [router.id for router in states.topology.routers.values() if router.name == what]
    return named[0] if len(named) == 1 else None


def clients(agent, router_id: str | None = None, within: IPv6Network | None = None) -> list[dict[str, Any]]:
    """Client bindings of one tenant, or of all on this host; only clients in a prefix. Raises: NotReady."""
    states, now = States.now(agent), time.time()
    rows = []
    for name in sorted(states.desired.tenants) if router_id is None else [router_id]:
        router = _name(states.topology.routers.get(name), name)
        for binding in breathing(agent.rooms["translator"].clients(name)):
            if within is not None and binding.client not in within:
                continue
            seen = binding.last_seen
            rows.append({"router_id": name, "router": router,
                         "client": str(binding.client), "pool_address": str(binding.pool_address),
                         "static": binding.static, "last_seen": timestamp(seen),
                         "idle_seconds": max(0, round(now - seen)) if seen is not None else None})
    return rows


def interface_of(states: States, ofport: int | None) -> str | None:
    """Name of the OVS interface with that OpenFlow port number."""
    return next((interface.name for interface in states.interfaces.values()
                 if ofport is not None and interface.ofport == ofport), None)


# -- what should be, and what would change --------------------------------------------------


def plan(agent) -> dict[str, Any]:
    """The plan in force: what should be installed on this host, and why the rest is not."""
    desired = agent.loop.desired
    return {
        "objects": [{"kind": obj.kind, "id": " ".join(obj.key[1:]), "attributes": plain(obj)}
                    for obj in desired.objects()],
        "problems": [{"kind": kind, "id": name, "state": problem.state, "reason": problem.reason}
                     for (kind, name), problem in sorted(desired.problems.items())],
        "allocations": plain(desired.allocations),
    }


def diff(agent) -> dict[str, Any]:
    """What the next pass would change. Raises: NotReady when a room cannot be asked."""
    return {"changes": [{"room": change.room, "action": change.action, "object": " ".join(change.owner),
                         "what": change.what} for change in agent.loop.preview()]}
