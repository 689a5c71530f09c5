# SPDX-License-Identifier: Apache-2.0
"""plan(): what should be installed on this host. Pure: no I/O, no clock, no randomness.

A topology whose references do not resolve costs only the objects that are concerned: they are
reported in `Desired.problems` with the reason, all others are planned. A floating IP that is not
associated with a port is neither planned nor a problem: it is "down", as Neutron calls it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from fip64agent.plan import allocate, tenants
from fip64agent.plan.bindings import Bindings, bindings_by_port, in_order
from fip64agent.plan.desired import Desired
from fip64agent.plan.draft import Draft, Index, NumbersChanged
from fip64agent.plan.editing import changed_keys, shared
from fip64agent.plan.inputs import Allocations, Inputs, Interface
from fip64agent.plan.routers import Routers
from fip64agent.plan.uplinks import Uplinks, find_uplinks
from fip64agent.topology.model import Port

_NONE: Mapping = MappingProxyType({})

_SMALL_SHARE = 4
"""An incremental plan pays while less than one in this many floating IPs is affected."""


def plan(inputs: Inputs) -> Desired:
    """Plan this host from scratch. Never raises, whatever the topology says."""
    bound = bindings_by_port(inputs.interfaces.values())
    routers = Routers.of(inputs.topology, inputs.settings)
    uplinks = find_uplinks(inputs, bound, routers)
    tables = MappingProxyType({port_id: uplink.table for port_id, uplink in uplinks.uplinks.items()})
    base = Desired(tenants.host(inputs.settings, inputs.interfaces, uplinks) if uplinks.uplinks else None,
                   MappingProxyType(uplinks.uplinks), _NONE, _NONE, _NONE,
                   MappingProxyType(uplinks.problems), Allocations(_NONE, tables))
    draft = Draft(base, Index(inputs, routers, uplinks, bound, {}, {}, {}, {}), inputs, bound, whole=True)
    draft.settle(inputs.topology.floatingips)
    return draft.result()


def replan(previous: Desired, before: Inputs, after: Inputs) -> Desired:
    """Return what plan(after) does, sharing with `previous` all that did not change.

    Changes of floating IPs, of VM ports, of their interfaces and of tenants' own veths cost work
    for the affected floating IPs only, provided that the rest of `before` and `after` are the same
    objects; any other change plans from scratch. `previous` is the plan of `before`; as it
    remembers what it was made from, that is what `after` is compared with: a `before` that is
    not quite it (other allocations, say) can neither slow this down nor make it wrong.
    """
    index = previous._index
    if isinstance(index, Index):
        desired = _incremental(previous, index, after)
        if desired is not None:
            return desired
    return _sharing(previous, plan(after))


def _incremental(previous: Desired, index: Index, after: Inputs) -> Desired | None:
    """Return the plan made from what changed, or None when too much did."""
    before = index.inputs
    old, new = before.topology, after.topology
    if (before.settings != after.settings or old.networks != new.networks or old.subnets != new.subnets
            or old.routers != new.routers or not _tables_hold(index.uplinks, before, after)):
        return None

    ports = set(changed_keys(old.ports, new.ports))
    if any(_is_router_port(kind.get(port_id)) for port_id in ports for kind in (old.ports, new.ports)):
        return None
    names = set(changed_keys(before.interfaces, after.interfaces))
    bound = index.bound
    fips = set(changed_keys(old.floatingips, new.floatingips))
    if names:
        if not names.isdisjoint(_shared_links(previous)) or _bond_changed(names, before, after):
            return None
        rebound = _rebound(names, before.interfaces, after.interfaces)
        if any(_is_router_port(new.ports.get(port_id)) for port_id in rebound):
            return None
        ports |= rebound
        bound = _rebind(bound, rebound, names, after.interfaces)
        for tenant in previous.tenants.values():
            if tenant.interface in names:
                fips.update(index.members[tenant.router_id])
    for port_id in ports:
        fips.update(index.by_port.get(port_id, ()))
    if len(fips) * _SMALL_SHARE > max(len(new.floatingips), 100):
        return None
    draft = Draft(previous, index, after, bound, whole=False)
    try:
        draft.settle(fips)
    except NumbersChanged:
        return None
    return draft.result()


def _is_router_port(port: Port | None) -> bool:
    return port is not None and port.is_router_port


def _tables_hold(uplinks: Uplinks, before: Inputs, after: Inputs) -> bool:
    """Whether the uplinks keep their routing tables under the allocations in force after."""
    if before.allocations.tables == after.allocations.tables:
        return True
    tables = {port_id: uplink.table for port_id, uplink in uplinks.uplinks.items()}
    first, last = allocate.FIRST_TABLE, allocate.LAST_TABLE
    return (len(tables) <= last - first
            and allocate.allocate(tables, after.allocations.tables, first, last)[0] == tables)


def _shared_links(desired: Desired) -> set[str]:
    """Names of the interfaces that many objects of the plan depend on."""
    names = {name for uplink in desired.uplinks.values() for name in uplink.veths}
    if desired.host is not None and desired.host.downlink:
        names.add(desired.host.downlink)
    return names


def _bond_changed(names: set[str], before: Inputs, after: Inputs) -> bool:
    """Whether an interface of these names is or was a member of a bond that is, or may become, an uplink."""
    changed = (rows.get(name) for rows in (before.interfaces, after.interfaces) for name in names)
    bonds = {row.bond for row in changed if row is not None and row.bond}
    ports = after.topology.ports
    return bool(bonds) and any(row.bond in bonds and _is_router_port(ports.get(row.iface_id or ""))
                               for rows in (before.interfaces, after.interfaces) for row in rows.values())


def _rebound(names: set[str], before: Mapping[str, Interface], after: Mapping[str, Interface]) -> set[str]:
    """Return the ids of the ports that the interfaces of these names carried or carry."""
    rows = [rows.get(name) for name in names for rows in (before, after)]
    return {row.iface_id for row in rows if row is not None and row.iface_id}


def _rebind(bound: Mapping[str, Bindings], port_ids: set[str], names: set[str],
            after: Mapping[str, Interface]) -> Mapping[str, Bindings]:
    """Return `bound` with the changed interfaces, whose names and ports are given, taken into account."""
    if not port_ids:
        return bound
    fresh = [after[name] for name in names if name in after]
    rebound = dict(bound)
    for port_id in port_ids:
        rows = [row for row in bound.get(port_id, ()) if row.name not in names]
        rows += [row for row in fresh if row.iface_id == port_id]
        if rows:
            rebound[port_id] = in_order(rows)
        else:
            rebound.pop(port_id, None)
    return rebound


def _sharing(previous: Desired, desired: Desired) -> Desired:
    """Return `desired` made of the objects of `previous` wherever they are equal."""
    return dataclasses.replace(
        desired,
        host=previous.host if previous.host == desired.host else desired.host,
        **{kind: shared(getattr(previous, kind), getattr(desired, kind))
           for kind in ("uplinks", "tenants", "mappings", "gateways", "problems")},
        allocations=previous.allocations if previous.allocations == desired.allocations
        else desired.allocations)
