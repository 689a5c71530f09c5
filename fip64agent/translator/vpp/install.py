# SPDX-License-Identifier: Apache-2.0
"""Makes and removes items in VPP, many at a time: each kind of item is one pipeline of requests.

All of it is idempotent: what an agent that was killed half-way has left is taken over or made anew.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from ipaddress import ip_interface, ip_network
from typing import Any

from fip64agent.translator.vpp import requests, tags
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.interfaces import Interfaces
from fip64agent.translator.vpp.items import (
    Address,
    Binding,
    HostInterface,
    Item,
    Mapping,
    Neighbour,
    NeighbourAge,
    Route,
    SubInterface,
    Table,
    Tenant64,
)
from fip64agent.translator.vpp.plugin import Plugin
from fip64agent.translator.vpp.readback import ALL, ELSEWHERE, State, api_routes, tables
from fip64agent.translator.vpp.sender import Failures, Pairs, Sender

LENGTH_MISMATCH, DUPLICATE_ADDRESS = -59, -127
SYSCALL_ERRORS = frozenset({-11, -13})
"""Answers to the removal of a host-interface that is not there."""
_NOTHING_TO_REMOVE = frozenset({-2, -3, -6, -60, -98, -106, -123})
"""Answers to the removal of what is not there."""


class Installer:
    """Works on one VPP. `state` is as it was read back last, and kept up here."""

    def __init__(self, client: VppClient, state: State) -> None:
        self._sender = Sender(client, state)
        self._interfaces = Interfaces(self._sender)
        self._plugin = Plugin(self._sender)
        self._install = {NeighbourAge: self._neighbour_ages, Table: self._tables,
                         HostInterface: self._interfaces.make_host_interfaces,
                         SubInterface: self._interfaces.make_sub_interfaces, Address: self._addresses,
                         Neighbour: self._neighbours, Route: self._routes, Tenant64: self._tenants,
                         Mapping: self._plugin.make_mappings, Binding: self._plugin.make_bindings}

    @property
    def state(self) -> State:
        return self._sender.state

    @property
    def collateral(self) -> bool:
        """Something was made anew, and what was on it went with it: a read-back finds out."""
        return self._sender.collateral

    def install(self, kind: type, pairs: Pairs) -> Failures:
        """Make items of one kind. Returns why some could not be made. Raises: NotReady."""
        failed: Failures = {}
        possible = []
        for was, item in pairs:
            if reason := self._lacking(item):
                failed[item.key] = reason
            else:
                possible.append((was, item))
        return failed | (self._install[kind](possible) if possible else {})

    def _lacking(self, item: Item) -> str:
        """Say what an item stands on and is not there, or not ours."""
        state = self.state
        match item:
            case Mapping():
                if not state.has_tenant(item.table):
                    return f"VPP has no tenant with table {item.table}"
                return self._lacking_table(6, item.ip6_table)
            case Binding():
                return "" if state.has_tenant(item.table) else f"VPP has no tenant with table {item.table}"
            case Route():
                if item.interface and item.interface not in state.interfaces:
                    return f"VPP has no interface {item.interface}"
                return self._lacking_table(item.destination.version, item.table)
            case Address() | Neighbour():
                return "" if item.interface in state.interfaces else f"VPP has no interface {item.interface}"
            case HostInterface():
                return self._lacking_table(6, item.table) if item.table else ""
            case SubInterface():
                if item.parent not in state.interfaces:
                    return f"VPP has no interface {item.parent}"
                return self._lacking_table(4, item.table)
            case Tenant64():
                tag = state.tenants.get(item.table)
                if tag is not None and not tags.is_ours(tag):
                    return f"tenant {item.table} of VPP is not this agent's: its tag is {tag!r}"
                return self._lacking_table(4, item.table)
        return ""

    def _lacking_table(self, version: int, number: int) -> str:
        if self.state.has_table(version, number):
            return ""
        name = self.state.tables.get((version, number))
        if name is None:
            return f"VPP has no IPv{version} table {number}"
        return f"IPv{version} table {number} of VPP is not this agent's: its name is {name!r}"

    # -- tables -----------------------------------------------------------------------------------

    def _tables(self, pairs: Pairs) -> Failures:
        # Adding a table that is there, whosever it is, would seem to succeed.
        self.state.tables = tables(self._sender.client).tables
        failed: Failures = {}
        due = []
        for _, item in pairs:
            name = self.state.tables.get((item.version, item.number))
            if name == item.name:
                continue
            if name is not None and not tags.is_ours(name):
                failed[item.key] = self._lacking_table(item.version, item.number)
                continue
            if name is not None:  # of a tenant or an uplink that is given up
                self._clear(item.version, item.number)
            due.append((item, [requests.table(item)]))
        failed |= self._sender.run(due)
        for item, _ in due:
            if item.key not in failed:
                self.state.tables[item.version, item.number] = item.name
        return failed

    def _clear(self, version: int, number: int) -> None:
        """Remove a table of ours with all that is in it: its name cannot be changed."""
        self._sender.collateral = True
        state, wanted = self.state, []
        if version == 4:
            wanted.append(requests.no_tenant(number))
            state.tenants.pop(number, None)
        else:
            wanted += [request for part in requests.batches(
                [detail.mapping for detail in self._sender.client.dump("fip64_mapping_dump", table_id=ALL)
                 if detail.mapping.ip6_table_id == number]) for request in [requests.mappings(part, False)]]
        name = state.tables.pop((version, number))
        if name in state.interfaces or name in state.links:  # an interface's tag is the name of its table
            self._sender.send([requests.flush(version, number)])
            self._interfaces.drop(name, state.interfaces.get(name, 0))
        self._sender.send([*wanted, requests.flush(version, number), requests.no_table(version, number)])

    # -- layer 3 ----------------------------------------------------------------------------------

    def _addresses(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        add = functools.partial(requests.address, interfaces=self.state.interfaces)
        answers = self._sender.send([add(item) for _, item in pairs])
        for (_, item), answer in zip(pairs, answers, strict=True):
            if getattr(answer, "retval", None) in (LENGTH_MISMATCH, DUPLICATE_ADDRESS):
                answer = self._settle_address(item, answer)
            if isinstance(answer, Exception):
                failed[item.key] = str(answer)
        return failed

    def _settle_address(self, item: Address, refusal: Exception) -> Any:
        """It is there, which is success, or there with another prefix length."""
        index, version = self.state.interfaces[item.interface], item.address.version
        for detail in self._sender.client.dump("ip_address_dump", sw_if_index=index, is_ipv6=version == 6):
            found = ip_interface(str(detail.prefix))
            if found == item.address:
                return None
            if found.ip == item.address.ip:
                old = Address(item.interface, found)
                return self._sender.send([requests.address(old, self.state.interfaces, False),
                                   requests.address(item, self.state.interfaces)])[1]
        return refusal

    def _there(self, item: Address) -> bool:
        """Whether it is there with this prefix length, which VPP does not look at when it removes one."""
        index = self.state.interfaces.get(item.interface)
        return index is not None and any(
            ip_interface(str(detail.prefix)) == item.address for detail in self._sender.client.dump(
                "ip_address_dump", sw_if_index=index, is_ipv6=item.address.version == 6))

    def _neighbours(self, pairs: Pairs) -> Failures:
        indexes = self.state.interfaces
        return self._sender.run((item, [requests.neighbour(item, indexes)]) for _, item in pairs)

    def _neighbour_ages(self, pairs: Pairs) -> Failures:
        return self._sender.run((item, [requests.neighbour_age(item)]) for _, item in pairs)

    def _routes(self, pairs: Pairs) -> Failures:
        # Routes share what VPP knows of their next hop. Of an interface that is gone that stays unusable,
        # even when another one has its index now, until the last such route has gone.
        self._sender.send([requests.no_route(was) for was, _ in pairs
                    if isinstance(was, Route) and was.interface == ELSEWHERE])
        indexes = self.state.interfaces
        failed = self._sender.run((item, [requests.route(item, indexes)]) for _, item in pairs)
        touched = sorted({(item.destination.version, item.table) for _, item in pairs})
        there = {(route.table_id, ip_network(str(route.prefix)))
                 for route in api_routes(self._sender.client, touched)}
        for _, item in pairs:  # else it would be made again and again, as if that helped
            if (item.table, item.destination) not in there:
                show = f"show ip{'6' if item.destination.version == 6 else ''} fib table {item.table}"
                failed.setdefault(item.key, "VPP has another route to it, which counts more than ours: "
                                            f"{show} {item.destination} tells which")
        return failed

    # -- the plugin -------------------------------------------------------------------------------

    def _tenants(self, pairs: Pairs) -> Failures:
        failed = self._sender.run((item, [requests.tenant(item)]) for _, item in pairs)
        for was, item in pairs:
            if item.key not in failed:
                self.state.tenants[item.table] = item.tag
                if was is not None and (was.pool_first, was.pool_last) != (item.pool_first, item.pool_last):
                    self._sender.collateral = True  # bindings
        return failed

    # -- removing ---------------------------------------------------------------------------------

    def remove(self, kind: type, items: Sequence[Item]) -> Failures:
        """Remove items of one kind. Gone already is success. Raises: NotReady."""
        state = self.state
        if kind in (Mapping, Binding):
            return self._plugin.remove(kind, items)
        work = []
        for item in items:
            if isinstance(item, HostInterface):
                link = state.links.pop(item.tag, item.link)
                state.interfaces.pop(item.tag, None)
                work.append((item, [requests.no_host_interface(link)] if link != ELSEWHERE else []))
            elif isinstance(item, SubInterface):
                index = state.interfaces.pop(item.tag, None)
                work.append((item, [requests.no_sub_interface(index)] if index is not None else []))
            elif isinstance(item, Address):
                gone = not self._there(item)
                work.append((item, [] if gone else [requests.address(item, state.interfaces, False)]))
            elif isinstance(item, Neighbour):
                there = item.interface in state.interfaces
                work.append((item, [requests.neighbour(item, state.interfaces, False)] if there else []))
            elif isinstance(item, Route):
                work.append((item, [requests.no_route(item)]))
            elif isinstance(item, NeighbourAge):
                work.append((item, [requests.no_neighbour_age(item.version)]))
            elif isinstance(item, Tenant64):
                state.tenants.pop(item.table, None)
                work.append((item, [requests.no_tenant(item.table)]))
            else:
                state.tables.pop((item.version, item.number), None)
                work.append((item, [requests.no_table(item.version, item.number)]))
        if kind is HostInterface:
            return self._sender.run(work, _NOTHING_TO_REMOVE | SYSCALL_ERRORS, one_by_one=True)
        return self._sender.run(work, _NOTHING_TO_REMOVE)
