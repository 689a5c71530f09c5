# SPDX-License-Identifier: Apache-2.0
"""Makes and removes items in VPP, many at a time: each kind of item is one pipeline of requests.

Everything can be repeated: what an agent left half done, because it was killed, is completed or made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_interface, ip_network
from typing import Any

from fip64agent.translator.vpp import readback, requests, tags
from fip64agent.translator.vpp.api import errors
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.pipeline import Request
from fip64agent.translator.vpp.items import (
    Address,
    Binding,
    HostInterface,
    Item,
    Mapping,
    Neighbor,
    NeighborAge,
    Route,
    SubInterface,
    Table,
    Tenant64,
)
from fip64agent.translator.vpp.sender import Failures, Sender, reasons
from fip64agent.translator.vpp.state import UNKNOWN, State

Pairs = Sequence[tuple[Item | None, Item]]
"""(the item as it is installed, or None; the item as it should be)"""

_ADDRESS_CONFLICTS = (errors.number("ADDRESS_LENGTH_MISMATCH"), errors.number("DUPLICATE_IF_ADDRESS"))
_INTERFACE_EXISTS = errors.number("IF_ALREADY_EXISTS")
_VLAN_EXISTS = errors.number("VLAN_ALREADY_EXISTS")
_NO_LINK = errors.number("INVALID_INTERFACE")
_MAPPED_ALREADY = errors.number("ENTRY_ALREADY_EXISTS")
_NOT_THERE = frozenset(map(errors.number, (
    "INVALID_SW_IF_INDEX", "NO_SUCH_FIB", "NO_SUCH_ENTRY", "ADDRESS_NOT_FOUND_FOR_INTERFACE",
    "INVALID_SUB_SW_IF_INDEX", "ADDRESS_NOT_IN_USE", "SUBIF_DOESNT_EXIST")))
"""VPP's answers when something is removed that does not exist."""
_LINK_NOT_THERE = _NOT_THERE | {errors.number("SYSCALL_ERROR_1"), errors.number("SYSCALL_ERROR_3")}
"""The same for a host-interface, whose link may not exist any more."""


class VppInstaller:
    """Installs items in one VPP and removes them.

    state: what was read back last; the installer keeps it up to date.
    """

    def __init__(self, client: VppClient, state: State) -> None:
        self.state = state
        self.needs_readback = False
        """Whether something was made again and took other items with it: only a read-back finds out which."""
        self._client = client
        self._sender = Sender(client)
        self._send = self._sender.send
        self._install = {
            NeighborAge: self._neighbor_ages, Table: self._tables, HostInterface: self._host_interfaces,
            SubInterface: self._sub_interfaces, Address: self._addresses, Neighbor: self._neighbors,
            Route: self._routes, Tenant64: self._tenants, Mapping: self._mappings, Binding: self._bindings}

    def install(self, kind: type, pairs: Pairs) -> Failures:
        """Make items of one kind; return the reason for each key that failed. Raises: NotReady."""
        failed: Failures = {}
        possible = []
        for was, item in pairs:
            if reason := self.state.missing_for(item):
                failed[item.key] = reason
            else:
                possible.append((was, item))
        return failed | (self._install[kind](possible) if possible else {})

    def remove(self, kind: type, items: Sequence[Item]) -> Failures:
        """Remove items of one kind; return the reason for each key that failed. Raises: NotReady.

        That an item does not exist any more is success.
        """
        if kind is Mapping:
            return reasons(self._sender.send_batches(items, requests.remove_mappings))
        if kind is Binding:
            return reasons(self._sender.send_batches(items, requests.remove_bindings))
        work = [(item, self._removal(item)) for item in items]
        if kind is HostInterface:
            return self._sender.send_each(work, _LINK_NOT_THERE, one_by_one=True)
        return self._sender.send_each(work, _NOT_THERE)

    def _removal(self, item: Item) -> list[Request]:
        """Take an item out of the state, and return the requests that remove it from VPP."""
        state = self.state
        match item:
            case HostInterface():
                link = state.links.pop(item.tag, item.link)
                state.interfaces.pop(item.tag, None)
                return [requests.remove_host_interface(link)] if link != UNKNOWN else []
            case SubInterface():
                index = state.interfaces.pop(item.tag, None)
                return [requests.remove_sub_interface(index)] if index is not None else []
            case Address():
                return [requests.remove_address(item, state.interfaces)] if self._has_address(item) else []
            case Neighbor():
                known = item.interface in state.interfaces
                return [requests.remove_neighbor(item, state.interfaces)] if known else []
            case Route():
                return [requests.remove_route(item)]
            case NeighborAge():
                return [requests.reset_neighbor_age(item.version)]
            case Tenant64():
                state.tenants.pop(item.table, None)
                return [requests.remove_tenant(item.table)]
            case Table():
                state.tables.pop((item.version, item.number), None)
                return [requests.remove_table(item.version, item.number)]
        raise TypeError(f"{item} cannot be removed here")

    # -- tables -----------------------------------------------------------------------------------

    def _tables(self, pairs: Pairs) -> Failures:
        # VPP would accept to add a table that exists already, also one that somebody else has made.
        self.state.tables = readback.tables(self._client).tables
        failed: Failures = {}
        due = []
        for _, item in pairs:
            name = self.state.tables.get((item.version, item.number))
            if name == item.name:
                continue
            if name is not None and not tags.is_ours(name):
                failed[item.key] = self.state.missing_table(item.version, item.number)
                continue
            if name is not None:  # of a tenant or an uplink that is not wanted any more
                self._clear_table(item.version, item.number)
            due.append((item, [requests.add_table(item)]))
        failed |= self._sender.send_each(due)
        for item, _ in due:
            if item.key not in failed:
                self.state.tables[item.version, item.number] = item.name
        return failed

    def _clear_table(self, version: int, number: int) -> None:
        """Remove a table of this agent's with all that is in it: its name cannot be changed."""
        self.needs_readback = True
        state, wanted = self.state, []
        if version == 4:
            wanted.append(requests.remove_tenant(number))
            state.tenants.pop(number, None)
        else:
            found = [mapping for mapping in readback.mappings(self._client) if mapping.ip6_table_id == number]
            wanted += [requests.remove_found_mappings(part) for part in requests.batches(found)]
        name = state.tables.pop((version, number))
        if name in state.interfaces or name in state.links:  # an interface's tag is the name of its table
            self._send([requests.flush_table(version, number)])
            self._delete_interface(name, state.interfaces.get(name, 0))
        self._send([*wanted, requests.flush_table(version, number), requests.remove_table(version, number)])

    # -- interfaces -------------------------------------------------------------------------------

    def _host_interfaces(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        due, made = [], []
        for was, item in pairs:
            index = self.state.interfaces.get(item.tag)
            if index is not None and was is not None and \
                    (was.link, was.mac, was.table) == (item.link, item.mac, item.table) and \
                    requests.frame_size(was.mtu) >= requests.frame_size(item.mtu):
                made.append((item, requests.set_mtu_and_flags(item, index)))
                continue
            if item.tag in self.state.links:
                self._delete_host_interface(item.tag)
            due.append(item)
        answers = self._send([requests.add_host_interface(item) for item in due], one_by_one=True)
        for item, answer in zip(due, answers, strict=True):
            if getattr(answer, "retval", None) == _INTERFACE_EXISTS:
                answer = self._take_over_link(item, answer.reply.sw_if_index)
            if getattr(answer, "retval", None) == _NO_LINK:
                answer = f"there is no link {item.link} where VPP runs yet"
            if isinstance(answer, Exception | str):
                failed[item.key] = str(answer)
            else:
                made.append((item, requests.configure_host_interface(item, answer.sw_if_index)))
                self.state.interfaces[item.tag] = answer.sw_if_index
                self.state.links[item.tag] = item.link
        return failed | self._configure(made)

    def _sub_interfaces(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        due, made = [], []
        for was, item in pairs:
            index = self.state.interfaces.get(item.tag)
            if index is not None:
                if was is not None and \
                        (was.parent, was.vlan, was.table) == (item.parent, item.vlan, item.table):
                    made.append((item, requests.set_mtu_and_flags(item, index)))
                    continue
                self._send([requests.flush_table(4, was.table if was is not None else item.table)])
                self._delete_interface(item.tag, index)
            due.append(item)
        answers = self._send([requests.add_sub_interface(item, self.state.interfaces) for item in due])
        for item, answer in zip(due, answers, strict=True):
            if getattr(answer, "retval", None) == _VLAN_EXISTS:
                answer = self._take_over_vlan(item)
            if isinstance(answer, Exception | str):
                failed[item.key] = str(answer)
            else:
                made.append((item, requests.configure_sub_interface(item, answer.sw_if_index)))
                self.state.interfaces[item.tag] = answer.sw_if_index
        return failed | self._configure(made)

    def _configure(self, made: Sequence[tuple[Item, list[Request]]]) -> Failures:
        failed = self._sender.send_each(made)
        for item, _ in made:
            if item.key in failed:  # so that no other item is put on it
                self.state.interfaces.pop(item.tag, None)
        return failed

    def _delete_interface(self, tag: str, index: int) -> None:
        """Delete an interface; what is on it goes with it."""
        self.needs_readback = True
        link = self.state.links.pop(tag, None)
        self._send([requests.remove_host_interface(link) if link is not None
                    else requests.remove_sub_interface(index)])
        self.state.interfaces.pop(tag, None)

    def _delete_host_interface(self, tag: str) -> None:
        """Delete a host-interface of this agent's, but first its routes, which would stay unusable."""
        state, is_downlink = self.state, tag == tags.DOWNLINK
        self._send([requests.flush_table(*key) for key, name in state.tables.items()
                    if name == tag or (is_downlink and tags.tenant_of(name) is not None)])
        if is_downlink:  # the sub-interfaces of the tenants go with it
            state.interfaces = {tag: index for tag, index in state.interfaces.items()
                                if tags.tenant_of(tag) is None}
        self._delete_interface(tag, 0)

    def _take_over_link(self, item: HostInterface, index: int) -> Any:
        """Make a host-interface again whose link has one already, if that is this agent's or has no tag.

        Returns VPP's answer, or why it is left alone.
        """
        details = readback.interfaces(self._client, index)
        tag = next((detail.tag for detail in details if detail.sw_if_index == index), "")
        if tag and not tags.is_ours(tag):
            return f"VPP has an interface on {item.link} already that is not this agent's: its tag is {tag!r}"
        if tag:
            self.state.links[tag] = item.link
            self._delete_host_interface(tag)
        else:  # the agent was killed before it set the tag
            self._send([requests.remove_host_interface(item.link)])
        return self._send([requests.add_host_interface(item)])[0]

    def _take_over_vlan(self, item: SubInterface) -> Any:
        """Make a sub-interface again whose VLAN has one already, if that is this agent's or has no tag.

        Returns VPP's answer, or why it is left alone.
        """
        parent = self.state.interfaces[item.parent]
        for detail in readback.interfaces(self._client):
            if detail.sup_sw_if_index == parent != detail.sw_if_index and detail.sub_id == item.vlan:
                if detail.tag and not tags.is_ours(detail.tag):
                    return (f"VPP has a sub-interface with VLAN {item.vlan} already that is not this "
                            f"agent's: its tag is {detail.tag!r}")
                self._send([requests.flush_table(4, item.table)])
                self._delete_interface(detail.tag, detail.sw_if_index)
        return self._send([requests.add_sub_interface(item, self.state.interfaces)])[0]

    # -- layer 3 ----------------------------------------------------------------------------------

    def _addresses(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        answers = self._send([requests.add_address(item, self.state.interfaces) for _, item in pairs])
        for (_, item), answer in zip(pairs, answers, strict=True):
            if getattr(answer, "retval", None) in _ADDRESS_CONFLICTS:
                answer = self._settle_address(item, answer)
            if isinstance(answer, Exception):
                failed[item.key] = str(answer)
        return failed

    def _settle_address(self, item: Address, refusal: Exception) -> Any:
        """Replace an address that VPP refused because the interface has it with another prefix length.

        Returns None when the interface has it already, VPP's answer, or the refusal when neither is the case.
        """
        for found in self._addresses_like(item):
            if found == item.address:
                return None
            if found.ip == item.address.ip:
                old = Address(item.interface, found)
                return self._send([requests.remove_address(old, self.state.interfaces),
                                   requests.add_address(item, self.state.interfaces)])[1]
        return refusal

    def _has_address(self, item: Address) -> bool:
        """Return whether the address exists with its prefix length, which VPP ignores when it removes one."""
        return item.interface in self.state.interfaces and item.address in self._addresses_like(item)

    def _addresses_like(self, item: Address) -> list:
        """Return the addresses of the item's interface and IP version, with their prefix lengths."""
        return [ip_interface(str(detail.prefix)) for detail in self._client.dump(
            "ip_address_dump", sw_if_index=self.state.interfaces[item.interface],
            is_ipv6=item.address.version == 6)]

    def _neighbors(self, pairs: Pairs) -> Failures:
        return self._sender.send_each((item, [requests.add_neighbor(item, self.state.interfaces)])
                                      for _, item in pairs)

    def _neighbor_ages(self, pairs: Pairs) -> Failures:
        return self._sender.send_each((item, [requests.set_neighbor_age(item)]) for _, item in pairs)

    def _routes(self, pairs: Pairs) -> Failures:
        # Routes with the same next hop share an object of VPP's. If its interface was deleted, the object
        # stays unusable until the last of its routes is removed, even when a new interface has its index.
        self._send([requests.remove_route(was) for was, _ in pairs
                    if isinstance(was, Route) and was.interface == UNKNOWN])
        failed = self._sender.send_each((item, [requests.add_route(item, self.state.interfaces)])
                                        for _, item in pairs)
        touched = sorted({(item.destination.version, item.table) for _, item in pairs})
        found = {(route.table_id, ip_network(str(route.prefix)))
                 for route in readback.api_routes(self._client, touched)}
        for _, item in pairs:
            # Without an error the route would be added again with each audit, and never be in force.
            if (item.table, item.destination) not in found:
                show = f"show ip{'6' if item.destination.version == 6 else ''} fib table {item.table}"
                failed.setdefault(item.key, "VPP has another route to it, which counts more than ours: "
                                            f"{show} {item.destination} tells which")
        return failed

    # -- the plugin -------------------------------------------------------------------------------

    def _tenants(self, pairs: Pairs) -> Failures:
        failed = self._sender.send_each((item, [requests.add_tenant(item)]) for _, item in pairs)
        for was, item in pairs:
            if item.key not in failed:
                self.state.tenants[item.table] = item.tag
                if was is not None and (was.pool_first, was.pool_last) != (item.pool_first, item.pool_last):
                    self.needs_readback = True  # client bindings outside of the new pool have gone
        return failed

    def _mappings(self, pairs: Pairs) -> Failures:
        items = [item for _, item in pairs]
        refused = self._sender.send_batches(items, requests.add_mappings)
        # A fixed address can have one floating IP only. The mapping that has it now is going to be removed or
        # moved too, but later: so it is removed here.
        contested = [item for item in items if refused.get(item.key) == _MAPPED_ALREADY]
        if contested:
            wanted = {(item.table, item.fixed) for item in contested}
            holders = [mapping for mapping in readback.mappings(self._client)
                       if (mapping.table_id, mapping.fixed) in wanted]
            self._send([requests.remove_found_mappings(part) for part in requests.batches(holders)])
            refused = {key: why for key, why in refused.items() if why != _MAPPED_ALREADY}
            refused |= self._sender.send_batches(contested, requests.add_mappings)
        return reasons(refused)

    def _bindings(self, pairs: Pairs) -> Failures:
        items = [item for _, item in pairs]
        moved = [was for was, _ in pairs if was is not None]
        self._sender.send_batches(moved, requests.remove_bindings)
        refused = self._sender.send_batches(items, requests.add_bindings)
        contested = [item for item in items if refused.get(item.key)]
        if contested:
            wanted = {(item.table, item.address) for item in contested}
            holders = [detail.binding for detail in readback.static_bindings(self._client)
                       if (detail.binding.table_id, detail.binding.pool_address) in wanted]
            self._send([requests.remove_found_bindings(part) for part in requests.batches(holders)])
            refused = self._sender.send_batches(contested, requests.add_bindings) if holders else refused
        return reasons(refused)
