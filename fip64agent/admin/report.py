# SPDX-License-Identifier: Apache-2.0
"""The answers of the admin API, as plain data for JSON. Reads the agent, changes nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import fip64agent
from fip64agent.admin.answers import breathing, plain, timestamp
from fip64agent.admin.problems import WARNING, survey
from fip64agent.admin.state import State, States, describe
from fip64agent.plan.desired import ACTIVE, Gateway, Mapping64, ObjectKey, Uplink

_COMPONENTS = ("os-ken", "eventlet", "pyroute2", "ovsdbapp")


# -- status ---------------------------------------------------------------------------------


def status(agent) -> dict[str, Any]:
    """What is wrong, counts, versions, times."""
    states = States.now(agent)
    counts, problems = survey(agent, states)
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


# -- objects --------------------------------------------------------------------------------


def _name(resource, resource_id: str | None) -> str:
    """What people call it: its name, else its id."""
    return (resource.name if resource else "") or resource_id or ""


def _cause(state: State, key: ObjectKey) -> str | None:
    """Return what is at fault: ``uplink <id>``, ``tenant <id>``, ``host``, ``room <name>``; None: itself."""
    return " ".join(state.cause) if state.cause not in (None, key) else None


_ALIVE = {True: "alive", False: "dead", None: "unknown"}


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
        "gateways": {str(address): _ALIVE[standing.alive]
                     for address, standing in states.next_hops(name).items()},
        "state": state.state, "reason": state.reason, "cause": _cause(state, (Uplink.kind, name)),
        "alike": state.alike,
    }


def fips(agent) -> list[dict[str, Any]]:
    states = States.now(agent)
    return [_fip(states, name, state) for name, state in breathing(states.all(Mapping64.kind))]


def _fip(states: States, name: str, state: State) -> dict[str, Any]:
    fip = states.topology.known("floatingips", name)
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
        "state": state.state, "reason": state.reason, "cause": _cause(state, (Mapping64.kind, name)),
        "alike": state.alike,
    }


def find_fip(states: States, what: str) -> str | None:
    """Return the id of the floating IP with that id or address (in any spelling), None if there is none."""
    known = states.names(Mapping64.kind)
    if what in known or what in states.desired.mappings:
        return what
    try:
        address = IPv6Address(what)
    except ValueError:
        return None
    fips = (states.topology.known("floatingips", name) for name in known)
    return next((fip.id for fip in fips if fip is not None and fip.floating_ip_address == address), None)


def fip(agent, fip_id: str) -> dict[str, Any]:
    """All there is to know about one floating IP."""
    states = States.now(agent)
    result = _fip(states, fip_id, states.fip(fip_id))
    del result["alike"]  # there are no others beside it
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
