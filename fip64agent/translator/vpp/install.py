# SPDX-License-Identifier: Apache-2.0
"""Makes and removes items in VPP, many at a time: each kind of item is one pipeline of requests.

All of it is idempotent: what an agent that was killed half-way has left is taken over or made anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from ipaddress import ip_interface
from typing import Any

from fip64agent.exceptions import NotReady
from fip64agent.translator.vpp import requests, tags
from fip64agent.translator.vpp.client import VppClient
from fip64agent.translator.vpp.errors import VppError, explain
from fip64agent.translator.vpp.items import (
    Address,
    Binding,
    HostInterface,
    Item,
    Mapping,
    Neighbour,
    Route,
    SubInterface,
    Table,
    Tenant64,
)
from fip64agent.translator.vpp.readback import ALL, ELSEWHERE, State, interfaces, tables
from fip64agent.translator.vpp.requests import Request

IF_ALREADY_EXISTS, VLAN_ALREADY_EXISTS = -79, -56
LENGTH_MISMATCH, DUPLICATE_ADDRESS = -59, -127
ENTRY_ALREADY_EXISTS = -116
_NOTHING_TO_REMOVE = frozenset({-2, -3, -6, -60, -98, -106, -123})
"""Answers to the removal of what is not there."""

Failures = dict[Hashable, str]
Pairs = Sequence[tuple[Item | None, Item]]


class Installer:
    """Works on one VPP. `state` is as it was read back last, and kept up here."""

    def __init__(self, client: VppClient, state: State) -> None:
        self._client = client
        self.state = state
        self.collateral = False
        """Something was made anew, and what was on it went with it: a read-back finds out."""
        self._install = {Table: self._tables, HostInterface: self._host_interfaces,
                         SubInterface: self._sub_interfaces, Address: self._addresses,
                         Neighbour: self._neighbours, Route: self._routes, Tenant64: self._tenants,
                         Mapping: self._mappings, Binding: self._bindings}

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

    # -- sending ----------------------------------------------------------------------------------

    def _send(self, wanted: Sequence[Request], fatal: bool = True) -> list[Any]:
        """Return the reply to each request, or the VppError. Raises: NotReady."""
        answers = self._client.pipeline(wanted) if wanted else []
        for answer in answers:
            if isinstance(answer, NotReady):
                raise answer
            if isinstance(answer, Exception) and not isinstance(answer, VppError | ValueError):
                raise answer
        return answers

    def _run(self, work: Iterable[tuple[Item, Sequence[Request]]],
             accept: frozenset[int] = frozenset()) -> Failures:
        """Send each item's requests, all in one pipeline. Returns why items failed."""
        work = list(work)
        answers = iter(self._send([request for _, several in work for request in several]))
        failed: Failures = {}
        for item, several in work:
            for answer in [next(answers) for _ in several]:
                if isinstance(answer, Exception) and getattr(answer, "retval", None) not in accept:
                    failed.setdefault(item.key, str(answer))
        return failed

    # -- tables -----------------------------------------------------------------------------------

    def _tables(self, pairs: Pairs) -> Failures:
        self.state.tables = tables(self._client).tables  # adding one that is there would seem to succeed
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
        failed |= self._run(due)
        for item, _ in due:
            if item.key not in failed:
                self.state.tables[item.version, item.number] = item.name
        return failed

    def _clear(self, version: int, number: int) -> None:
        """Remove a table of ours with all that is in it: its name cannot be changed."""
        self.collateral = True
        state, wanted = self.state, []
        if version == 4:
            wanted.append(requests.no_tenant(number))
            state.tenants.pop(number, None)
        else:
            wanted += [request for part in requests.batches(
                [detail.mapping for detail in self._client.dump("fip64_mapping_dump", table_id=ALL)
                 if detail.mapping.ip6_table_id == number]) for request in [requests.mappings(part, False)]]
        name = state.tables.pop((version, number))
        if name in state.interfaces or name in state.links:  # an interface's tag is the name of its table
            self._send([requests.flush(version, number)])
            self._drop_interface(name, state.interfaces.get(name, 0))
        self._send([*wanted, requests.flush(version, number), requests.no_table(version, number)])

    # -- interfaces -------------------------------------------------------------------------------

    def _drop_interface(self, tag: str, index: int) -> None:
        """Delete an interface; what is on it goes too."""
        self.collateral = True
        link = self.state.links.pop(tag, None)
        if link is not None:
            self._send([requests.no_host_interface(link)])
        else:
            self._send([requests.no_sub_interface(index)])
        self.state.interfaces.pop(tag, None)

    def _host_interfaces(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        make, settle = [], []
        for was, item in pairs:
            index = self.state.interfaces.get(item.tag)
            if index is not None and was is not None and \
                    (was.link, was.mac, was.table) == (item.link, item.mac, item.table):
                settle.append((item, requests.mtu_and_flags(item, index)))
                continue
            if item.tag in self.state.links:
                self._release(item.tag)
            make.append(item)
        for item, answer in zip(make, self._send([requests.host_interface(item) for item in make]), strict=True):
            if getattr(answer, "retval", None) == IF_ALREADY_EXISTS:
                answer = self._take_over(item, answer.reply.sw_if_index)
            if isinstance(answer, Exception | str):
                failed[item.key] = self._about_link(item, answer)
            else:
                settle.append((item, requests.settle_host_interface(item, answer.sw_if_index)))
                self.state.interfaces[item.tag] = answer.sw_if_index
                self.state.links[item.tag] = item.link
        return failed | self._settled(settle)

    def _settled(self, settle: Sequence[tuple[HostInterface | SubInterface, list[Request]]]) -> Failures:
        failed = self._run(settle)
        for item, _ in settle:
            if item.key in failed:  # nothing else is put on it
                self.state.interfaces.pop(item.tag, None)
        return failed

    def _release(self, tag: str) -> None:
        """Delete a host-interface of ours, and before it the routes by it: they would never work again."""
        tables = self.state.tables.items()
        if tag == tags.DOWNLINK:  # the tenants' sub-interfaces go with it
            self._send([requests.flush(*key) for key, name in tables if tags.tenant_of(name) is not None])
            self.state.interfaces = {tag: index for tag, index in self.state.interfaces.items()
                                     if tags.tenant_of(tag) is None}
        else:
            self._send([requests.flush(*key) for key, name in tables if name == tag])
        self._drop_interface(tag, 0)

    def _take_over(self, item: HostInterface, index: int) -> Any:
        """Make a host-interface anew that is on our link already, if it is ours or nobody's."""
        details = interfaces(self._client, index)
        tag = next((detail.tag for detail in details if detail.sw_if_index == index), "")
        if tag and not tags.is_ours(tag):
            return f"VPP has an interface on {item.link} already that is not this agent's: its tag is {tag!r}"
        if tag:
            self.state.links[tag] = item.link
            self._release(tag)
        else:  # the agent was killed before it set the tag
            self._send([requests.no_host_interface(item.link)])
        return self._send([requests.host_interface(item)])[0]

    @staticmethod
    def _about_link(item: HostInterface, answer: Exception | str) -> str:
        if getattr(answer, "retval", None) == -71:  # INVALID_INTERFACE
            return f"there is no link {item.link} where VPP runs yet"
        return str(answer)

    def _sub_interfaces(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        make, settle = [], []
        for was, item in pairs:
            index = self.state.interfaces.get(item.tag)
            if index is not None:
                if was is not None and (was.parent, was.vlan, was.table) == (item.parent, item.vlan, item.table):
                    settle.append((item, requests.mtu_and_flags(item, index)))
                    continue
                self._send([requests.flush(4, was.table if was is not None else item.table)])
                self._drop_interface(item.tag, index)
            make.append(item)
        create = functools.partial(requests.sub_interface, interfaces=self.state.interfaces)
        for item, answer in zip(make, self._send([create(item) for item in make]), strict=True):
            if getattr(answer, "retval", None) == VLAN_ALREADY_EXISTS:
                answer = self._take_vlan(item, create(item))
            if isinstance(answer, Exception | str):
                failed[item.key] = str(answer)
            else:
                settle.append((item, requests.settle_sub_interface(item, answer.sw_if_index)))
                self.state.interfaces[item.tag] = answer.sw_if_index
        return failed | self._settled(settle)

    def _take_vlan(self, item: SubInterface, request: Request) -> Any:
        """Remove the sub-interface that has a VLAN ID of ours: a tenant's that is given up, or without a tag."""
        parent = self.state.interfaces[item.parent]
        for detail in interfaces(self._client):
            if detail.sup_sw_if_index == parent != detail.sw_if_index and detail.sub_id == item.vlan:
                if detail.tag and not tags.is_ours(detail.tag):
                    return (f"VPP has a sub-interface with VLAN {item.vlan} already that is not this agent's: "
                            f"its tag is {detail.tag!r}")
                self._send([requests.flush(4, item.table)])
                self._drop_interface(detail.tag, detail.sw_if_index)
        return self._send([request])[0]

    # -- layer 3 ----------------------------------------------------------------------------------

    def _addresses(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        add = functools.partial(requests.address, interfaces=self.state.interfaces)
        answers = self._send([add(item) for _, item in pairs])
        for (_, item), answer in zip(pairs, answers, strict=True):
            if getattr(answer, "retval", None) in (LENGTH_MISMATCH, DUPLICATE_ADDRESS):
                answer = self._settle_address(item, answer)
            if isinstance(answer, Exception):
                failed[item.key] = str(answer)
        return failed

    def _settle_address(self, item: Address, refusal: Exception) -> Any:
        """It is there, which is success, or there with another prefix length."""
        index, version = self.state.interfaces[item.interface], item.address.version
        for detail in self._client.dump("ip_address_dump", sw_if_index=index, is_ipv6=version == 6):
            found = ip_interface(str(detail.prefix))
            if found == item.address:
                return None
            if found.ip == item.address.ip:
                old = Address(item.interface, found)
                return self._send([requests.address(old, self.state.interfaces, False),
                                   requests.address(item, self.state.interfaces)])[1]
        return refusal

    def _there(self, item: Address) -> bool:
        """Whether it is there with this prefix length, which VPP does not look at when it removes one."""
        index = self.state.interfaces.get(item.interface)
        return index is not None and any(
            ip_interface(str(detail.prefix)) == item.address for detail in self._client.dump(
                "ip_address_dump", sw_if_index=index, is_ipv6=item.address.version == 6))

    def _neighbours(self, pairs: Pairs) -> Failures:
        return self._run((item, [requests.neighbour(item, self.state.interfaces)]) for _, item in pairs)

    def _routes(self, pairs: Pairs) -> Failures:
        # Routes share what VPP knows of their next hop. Of an interface that is gone that stays unusable, even
        # when another one has its index now, until the last such route has gone.
        self._send([requests.no_route(was) for was, _ in pairs
                    if isinstance(was, Route) and was.interface == ELSEWHERE])
        return self._run((item, [requests.route(item, self.state.interfaces)]) for _, item in pairs)

    # -- the plugin -------------------------------------------------------------------------------

    def _tenants(self, pairs: Pairs) -> Failures:
        failed = self._run((item, [requests.tenant(item)]) for _, item in pairs)
        for was, item in pairs:
            if item.key not in failed:
                self.state.tenants[item.table] = item.tag
                if was is not None and (was.pool_first, was.pool_last) != (item.pool_first, item.pool_last):
                    self.collateral = True  # bindings
        return failed

    def _mappings(self, pairs: Pairs) -> Failures:
        items = [item for _, item in pairs]
        refused = self._batched(items, requests.mappings)
        # A fixed address leads to one floating address. Its holder goes or moves too, only later.
        contested = [item for item in items if refused.get(item.key) == ENTRY_ALREADY_EXISTS]
        if contested:
            wanted = {(item.table, item.fixed) for item in contested}
            holders = [detail.mapping for detail in self._client.dump("fip64_mapping_dump", table_id=ALL)
                       if (detail.mapping.table_id, detail.mapping.fixed) in wanted]
            for part in requests.batches(holders):
                self._send([requests.mappings(part, False)])
            refused = {key: why for key, why in refused.items() if why != ENTRY_ALREADY_EXISTS}
            refused |= self._batched(contested, requests.mappings)
        return _told(refused)

    def _bindings(self, pairs: Pairs) -> Failures:
        items = [item for _, item in pairs]
        moved = [was for was, _ in pairs if was is not None]
        self._batched(moved, functools.partial(requests.bindings, is_add=False))
        refused = self._batched(items, requests.bindings)
        contested = [item for item in items if refused.get(item.key)]
        if contested:
            wanted = {(item.table, item.address) for item in contested}
            holders = [detail.binding for detail in self._client.get(
                "fip64_binding_get", cursor_table_id=0, table_id=ALL, only_static=True)
                if (detail.binding.table_id, detail.binding.pool_address) in wanted]
            for part in requests.batches(holders):
                self._send([requests.bindings(part, False)])
            refused = self._batched(contested, requests.bindings) if holders else refused
        return _told(refused)

    def _batched(self, items: Sequence, make: Callable[[Sequence], Request]) -> dict[Hashable, int | str]:
        """Send many items in each message. Returns what VPP refused: its return value, or a reason."""
        parts = list(requests.batches(items))
        refused: dict[Hashable, int | str] = {}
        for part, answer in zip(parts, self._send([make(part) for part in parts]), strict=True):
            if not isinstance(answer, Exception):
                continue
            values = getattr(getattr(answer, "reply", None), "retvals", None)
            if values is None or len(values) != len(part):
                refused.update((item.key, str(answer)) for item in part)
            else:
                refused.update((item.key, value) for item, value in zip(part, values, strict=True) if value)
        return refused

    # -- removing ---------------------------------------------------------------------------------

    def remove(self, kind: type, items: Sequence[Item]) -> Failures:
        """Remove items of one kind. Gone already is success. Raises: NotReady."""
        state = self.state
        if kind is Mapping:
            return _told(self._batched(items, functools.partial(requests.mappings, is_add=False)))
        if kind is Binding:
            return _told(self._batched(items, functools.partial(requests.bindings, is_add=False)))
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
                work.append((item, [requests.address(item, state.interfaces, False)] if self._there(item) else []))
            elif isinstance(item, Neighbour):
                there = item.interface in state.interfaces
                work.append((item, [requests.neighbour(item, state.interfaces, False)] if there else []))
            elif isinstance(item, Route):
                work.append((item, [requests.no_route(item)]))
            elif isinstance(item, Tenant64):
                state.tenants.pop(item.table, None)
                work.append((item, [requests.no_tenant(item.table)]))
            else:
                state.tables.pop((item.version, item.number), None)
                work.append((item, [requests.no_table(item.version, item.number)]))
        gone = _NOTHING_TO_REMOVE | ({-13, -11} if kind is HostInterface else frozenset())
        return self._run(work, gone)


def _told(refused: dict[Hashable, int | str]) -> Failures:
    return {key: why if isinstance(why, str) else f"VPP refused it: {explain(why)}" for key, why in refused.items()}
