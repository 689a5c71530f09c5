# SPDX-License-Identifier: Apache-2.0
"""Reads back from VPP what is ours: interfaces with our tags, tables with our names, and what is in them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Any

from fip64agent import hub
from fip64agent.plan.inputs import Allocations
from fip64agent.translator.vpp import tags
from fip64agent.translator.vpp.client import VppClient
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

UP = 1
"""IF_STATUS_API_FLAG_ADMIN_UP"""
NORMAL, DROP = 0, 2
"""FIB_API_PATH_TYPE_..."""
STATIC = 1
"""IP_API_NEIGHBOR_FLAG_STATIC"""
ALL = 0xFFFFFFFF
ELSEWHERE = "?"
"""Tag of an interface that is not ours, or is gone."""
_AT_ONCE = 16
"""Dumps under way at a time."""


@dataclasses.dataclass(slots=True)
class State:
    """What a change must know of VPP: filled by read(), kept up by install.py."""

    tables: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)
    """(4 or 6, number) -> name; those of others too."""
    interfaces: dict[str, int] = dataclasses.field(default_factory=dict)
    """Tag -> sw_if_index, of interfaces that work."""
    links: dict[str, str] = dataclasses.field(default_factory=dict)
    """Tag -> name in Linux, of host-interfaces; of those that lost their link too."""
    tenants: dict[int, str] = dataclasses.field(default_factory=dict)
    """Number of the IPv4 table -> tag; those of others too."""

    def has_table(self, version: int, number: int) -> bool:
        return tags.is_ours(self.tables.get((version, number), ""))

    def has_tenant(self, number: int) -> bool:
        return tags.is_ours(self.tenants.get(number, ""))

    def allocations(self) -> Allocations:
        """Return the numbers in force: they are those of the tables."""
        uplinks, tenants = {}, {}
        for (version, number), name in self.tables.items():
            if version == 6 and (port_id := tags.uplink_of(name)):
                uplinks[port_id] = number
            elif version == 4 and (router_id := tags.tenant_of(name)):
                tenants[router_id] = number
        return Allocations({"vlans": tenants, "tables": uplinks})


def read(client: VppClient, ages: bool = True) -> tuple[dict, State]:
    """Return the items by key, and the state. Raises: VppGone, VppTimeout, VppError.

    `ages`: with the age of neighbours, which has no mark: whose VPP it is says whether it is ours.
    """
    reader = _Reader(client)
    items = {item.key: item for item in reader.items()}
    if ages:
        items |= {item.key: item for item in neighbour_ages(client)}
    return items, reader.state


def neighbour_ages(client: VppClient) -> Iterator[NeighbourAge]:
    """Yield how VPP keeps neighbours, where that is not its own choice, which is to keep them for ever."""
    for version in (4, 6):
        answer = client.call("ip_neighbor_config_get", af=int(version == 6))
        if answer.max_age:
            yield NeighbourAge(version, answer.max_number, answer.max_age, bool(answer.recycle))


def tables(client: VppClient) -> State:
    """Return a state with the tables only."""
    state = State()
    for detail in client.dump("ip_table_dump"):
        table = detail.table
        state.tables[6 if table.is_ip6 else 4, table.table_id] = table.name
    return state


def interfaces(client: VppClient, index: int = ALL) -> list[Any]:
    """Return VPP's details of one interface, or of all."""
    return client.dump("sw_interface_dump", sw_if_index=index, name_filter_valid=False, name_filter="")


def static_bindings(client: VppClient) -> list[Any]:
    """Return VPP's details of all static client bindings."""
    return client.get("fip64_binding_get", cursor_table_id=0, table_id=ALL, only_static=True)


def api_routes(client: VppClient, wanted: Iterable[tuple[int, int]]) -> list[Any]:
    """Return VPP's details of the API's routes in tables (4 or 6, number).

    Without those that a route of another source overrides: VPP does not tell of them.
    """
    source = next(detail.src.id for detail in client.dump("fib_source_dump") if detail.src.name == "API")
    found = at_once([lambda version=version, number=number: client.dump(
        "ip_route_v2_dump", src=source, table={"table_id": number, "is_ip6": version == 6})
        for version, number in wanted])
    return [detail.route for details in found for detail in details if detail.route.src == source]


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make many calls, some at a time, and return their results. Raises: what one of them raised."""
    if len(calls) < 3:
        return [call() for call in calls]
    results: list[Any] = [None] * len(calls)
    numbers = iter(range(len(calls)))
    failed: list[Exception] = []

    def work() -> None:
        for number in numbers:
            try:
                results[number] = calls[number]()
            except Exception as error:  # not raised here: eventlet would print it, once for each greenthread
                failed.append(error)
            if failed:
                return

    threads = [hub.spawn(work) for _ in range(min(_AT_ONCE, len(calls)))]
    for thread in threads:
        thread.wait()
    if failed:
        raise failed[0]
    return results


class _Reader:
    def __init__(self, client: VppClient) -> None:
        self._client = client
        self.state = State()
        self._tag_of: dict[int, str] = {}
        """sw_if_index -> tag, of interfaces of ours that work."""

    def items(self) -> Iterator[Item]:
        self.state = tables(self._client)
        ours = {key: name for key, name in self.state.tables.items() if tags.is_ours(name)}
        yield from (Table(version, number, name) for (version, number), name in ours.items())
        yield from self._interfaces()
        yield from self._addresses()
        yield from self._neighbours()
        yield from self._routes(sorted(ours))
        yield from self._tenants()
        yield from self._mappings()
        yield from self._bindings()

    # -- interfaces -------------------------------------------------------------------------------

    def _interfaces(self) -> list[Item]:
        details = [detail for detail in interfaces(self._client) if tags.is_ours(detail.tag)]
        links = {detail.sw_if_index: detail.host_if_name for detail in self._client.dump("af_packet_dump")}
        works = alive(self._client.local_pid, links.values())
        parents, items = {}, []
        for detail in details:
            link = links.get(detail.sw_if_index)
            if link is not None:
                self.state.links[detail.tag] = link
                if works.get(link, False):
                    parents[detail.sw_if_index] = detail.tag
                else:  # so it differs from any that is wanted, and what is on it is not there
                    items.append(HostInterface(detail.tag, ELSEWHERE, "", 0, 0, False))
        details = [detail for detail in details if detail.sup_sw_if_index in parents]
        tables = self._table_numbers(details)
        for detail, table in zip(details, tables, strict=True):
            index, tag = detail.sw_if_index, detail.tag
            up, mtu = bool(int(detail.flags) & UP), detail.mtu[0]
            if index in links:
                items.append(HostInterface(tag, links[index], str(detail.l2_address).lower(), mtu, table, up))
            else:
                items.append(SubInterface(tag, parents[detail.sup_sw_if_index], detail.sub_outer_vlan_id, mtu,
                                          table, up))
            self._tag_of[index] = tag
            self.state.interfaces[tag] = index
        return items

    def _table_numbers(self, details: Sequence) -> list[int]:
        """Return the number of the table that each interface's packets are looked up in."""
        requests = [("sw_interface_get_table", {"sw_if_index": detail.sw_if_index,
                                                "is_ipv6": detail.sup_sw_if_index == detail.sw_if_index})
                    for detail in details]
        numbers = []
        for reply in self._client.pipeline(requests):
            if isinstance(reply, Exception):
                raise reply
            numbers.append(reply.vrf_id)
        return numbers

    def _addresses(self) -> Iterator[Item]:
        wanted = [(index, tags.tenant_of(tag) is None) for index, tag in self._tag_of.items()
                  if tag != tags.DOWNLINK]
        found = at_once([lambda index=index, is_ipv6=is_ipv6: self._client.dump(
            "ip_address_dump", sw_if_index=index, is_ipv6=is_ipv6) for index, is_ipv6 in wanted])
        for details in found:
            for detail in details:
                yield Address(self._tag_of[detail.sw_if_index], ip_interface(str(detail.prefix)))

    def _neighbours(self) -> Iterator[Item]:
        for detail in self._client.dump("ip_neighbor_dump", af=0):
            neighbour = detail.neighbor
            tag = self._tag_of.get(neighbour.sw_if_index)
            if tag is not None and int(neighbour.flags) & STATIC:
                yield Neighbour(tag, IPv4Address(str(neighbour.ip_address)),
                                str(neighbour.mac_address).lower())

    # -- routes -----------------------------------------------------------------------------------

    def _routes(self, wanted: Iterable[tuple[int, int]]) -> Iterator[Item]:
        yield from map(self._route, api_routes(self._client, wanted))

    def _route(self, route) -> Route:
        prefix: IPv4Network | IPv6Network = ip_network(str(route.prefix))
        if len(route.paths) != 1:
            return Route(route.table_id, prefix, ELSEWHERE)
        path = route.paths[0]
        if int(path.type) == DROP:
            return Route(route.table_id, prefix, "")
        if int(path.type) != NORMAL:
            return Route(route.table_id, prefix, ELSEWHERE)
        address = path.nh.address
        via = IPv4Address(str(address.ip4)) if prefix.version == 4 else IPv6Address(str(address.ip6))
        return Route(route.table_id, prefix, self._tag_of.get(path.sw_if_index, ELSEWHERE),
                     None if via.is_unspecified else via)

    # -- the plugin -------------------------------------------------------------------------------

    def _tenants(self) -> Iterator[Item]:
        for detail in self._client.dump("fip64_tenant_dump"):
            tenant = detail.tenant
            self.state.tenants[tenant.table_id] = tenant.tag
            if tags.is_ours(tenant.tag):
                yield Tenant64(tenant.table_id, tenant.tag, tenant.pool_first, tenant.pool_last,
                               tenant.address4, tenant.address6, tenant.mtu4, tenant.mtu6,
                               tenant.lowest_ipv6_mtu, tenant.zero_traffic_class,
                               tenant.drop_udp_zero_checksum, tenant.hash_seed, tenant.idle_timeout,
                               tenant.max_per_64)

    def _mappings(self) -> Iterator[Item]:
        ours = {number for number in self.state.tenants if self.state.has_tenant(number)}
        for detail in self._client.dump("fip64_mapping_dump", table_id=ALL) if ours else ():
            floating, fixed, ip6_table, table = detail.mapping
            if table in ours:
                yield Mapping(floating, fixed, ip6_table, table)

    def _bindings(self) -> Iterator[Item]:
        if not self.state.tenants:
            return
        for detail in static_bindings(self._client):
            binding = detail.binding
            if detail.is_static and self.state.has_tenant(binding.table_id):
                yield Binding(binding.table_id, binding.client, binding.pool_address)


def alive(pid: int | None, links: Iterable[str]) -> dict[str, bool]:
    """Return which links VPP's host-interfaces are still bound to.

    One that was deleted, and made again under the same name, is another link: VPP's socket is bound to none
    then, and VPP does not notice. Where VPP's sockets cannot be told (its process cannot be seen), a link
    that is there counts.
    """
    names = {}
    for name in links:
        with contextlib.suppress(OSError):
            names[name] = socket.if_nametoindex(name)
    bound = _bound(pid)
    return {name: bound is None or index in bound for name, index in names.items()}


_PACKET_SOCKET = re.compile(r"^\w+ +\d+ +\d+ +\w+ +(-?\d+) .* (\d+)$")


def _bound(pid: int | None) -> set[int] | None:
    """Return the indexes of the links that packet sockets of a process are bound to."""
    if not pid:
        return None
    try:
        inodes = set()
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        lines = Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]
    except OSError:
        return None
    found = (_PACKET_SOCKET.match(line.rstrip()) for line in lines)
    return {int(match[1]) for match in found if match is not None and match[2] in inodes}
