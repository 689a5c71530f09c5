# SPDX-License-Identifier: Apache-2.0
"""Reads back from VPP this agent's interfaces and tables, known by their marks, and all that is in them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Any

from fip64agent import hub
from fip64agent.translator.vpp import tags
from fip64agent.translator.vpp.api.client import VppClient
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
from fip64agent.translator.vpp.state import UNKNOWN, State

UP = 1
"""IF_STATUS_API_FLAG_ADMIN_UP"""
NORMAL, DROP = 0, 2
"""FIB_API_PATH_TYPE_..."""
STATIC = 1
"""IP_API_NEIGHBOR_FLAG_STATIC"""
ALL = 0xFFFFFFFF
"""All interfaces, or all tables, in a request."""
_MOST_DUMPS = 16
"""Dumps that are requested at the same time."""


def read(client: VppClient, with_neighbor_ages: bool = True) -> tuple[dict, State]:
    """Return {key: item} and the state. Raises: VppGone, VppTimeout, VppError.

    with_neighbor_ages: with the NeighborAge items. They have no mark: they belong to the agent only in a VPP
    that it may configure.
    """
    reader = _Reader(client)
    items = {item.key: item for item in reader.items()}
    if with_neighbor_ages:
        items |= {item.key: item for item in neighbor_ages(client)}
    return items, reader.state


def neighbor_ages(client: VppClient) -> Iterator[NeighborAge]:
    """Yield how long VPP keeps neighbors, for the IP versions where it removes them. Its default is never."""
    for version in (4, 6):
        answer = client.call("ip_neighbor_config_get", af=int(version == 6))
        if answer.max_age:
            yield NeighborAge(version, answer.max_number, answer.max_age, bool(answer.recycle))


def tables(client: VppClient) -> State:
    """Return a state that has nothing but the tables."""
    state = State()
    for detail in client.dump("ip_table_dump"):
        table = detail.table
        state.tables[6 if table.is_ip6 else 4, table.table_id] = table.name
    return state


def interfaces(client: VppClient, index: int = ALL) -> list[Any]:
    """Return VPP's details of one interface, or of all."""
    return client.dump("sw_interface_dump", sw_if_index=index, name_filter_valid=False, name_filter="")


def mappings(client: VppClient) -> list[Any]:
    """Return the plugin's mappings as VPP has them."""
    return [detail.mapping for detail in client.dump("fip64_mapping_dump", table_id=ALL)]


def static_bindings(client: VppClient) -> list[Any]:
    """Return VPP's details of all static client bindings."""
    return client.get("fip64_binding_get", cursor_table_id=0, table_id=ALL, only_static=True)


def api_routes(client: VppClient, wanted: Iterable[tuple[int, int]]) -> list[Any]:
    """Return, as VPP has them, the routes that the API added to the tables `wanted`, (4 or 6, number).

    Those that a route of another source overrides are missing: VPP does not return them.
    """
    source = next(detail.src.id for detail in client.dump("fib_source_dump") if detail.src.name == "API")
    found = at_once([lambda version=version, number=number: client.dump(
        "ip_route_v2_dump", src=source, table={"table_id": number, "is_ip6": version == 6})
        for version, number in wanted])
    return [detail.route for details in found for detail in details if detail.route.src == source]


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make calls, up to _MOST_DUMPS at the same time; return their results. Raises: what a call raised."""
    if len(calls) < 3:
        return [call() for call in calls]
    results: list[Any] = [None] * len(calls)
    numbers = iter(range(len(calls)))
    failed: list[Exception] = []

    def work() -> None:
        for number in numbers:
            try:
                results[number] = calls[number]()
            except Exception as error:  # raised below: eventlet would print it for each greenthread
                failed.append(error)
            if failed:
                return

    threads = [hub.spawn(work) for _ in range(min(_MOST_DUMPS, len(calls)))]
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
        """{sw_if_index: tag} of this agent's interfaces that work."""

    def items(self) -> Iterator[Item]:
        self.state = tables(self._client)
        ours = {key: name for key, name in self.state.tables.items() if tags.is_ours(name)}
        yield from (Table(version, number, name) for (version, number), name in ours.items())
        yield from self._interfaces()
        yield from self._addresses()
        yield from self._neighbors()
        yield from self._routes(sorted(ours))
        yield from self._tenants()
        yield from self._mappings()
        yield from self._bindings()

    # -- interfaces -------------------------------------------------------------------------------

    def _interfaces(self) -> list[Item]:
        details = [detail for detail in interfaces(self._client) if tags.is_ours(detail.tag)]
        links = {detail.sw_if_index: detail.host_if_name for detail in self._client.dump("af_packet_dump")}
        works = attached(self._client.local_pid, links.values())
        parents, items = {}, []
        for detail in details:
            link = links.get(detail.sw_if_index)
            if link is not None:
                self.state.links[detail.tag] = link
                if works.get(link, False):
                    parents[detail.sw_if_index] = detail.tag
                else:  # it equals no item of the plan, and what is on it is left out
                    items.append(HostInterface(detail.tag, UNKNOWN, "", 0, 0, False))
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

    def _neighbors(self) -> Iterator[Item]:
        for detail in self._client.dump("ip_neighbor_dump", af=0):
            neighbor = detail.neighbor
            tag = self._tag_of.get(neighbor.sw_if_index)
            if tag is not None and int(neighbor.flags) & STATIC:
                yield Neighbor(tag, IPv4Address(str(neighbor.ip_address)),
                                str(neighbor.mac_address).lower())

    # -- routes -----------------------------------------------------------------------------------

    def _routes(self, wanted: Iterable[tuple[int, int]]) -> Iterator[Item]:
        yield from map(self._route, api_routes(self._client, wanted))

    def _route(self, route) -> Route:
        prefix: IPv4Network | IPv6Network = ip_network(str(route.prefix))
        if len(route.paths) != 1:
            return Route(route.table_id, prefix, UNKNOWN)
        path = route.paths[0]
        if int(path.type) == DROP:
            return Route(route.table_id, prefix, "")
        if int(path.type) != NORMAL:
            return Route(route.table_id, prefix, UNKNOWN)
        address = path.nh.address
        via = IPv4Address(str(address.ip4)) if prefix.version == 4 else IPv6Address(str(address.ip6))
        return Route(route.table_id, prefix, self._tag_of.get(path.sw_if_index, UNKNOWN),
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
        ours = {number for number in self.state.tenants if self.state.owns_tenant(number)}
        for floating, fixed, ip6_table, table in mappings(self._client) if ours else ():
            if table in ours:
                yield Mapping(floating, fixed, ip6_table, table)

    def _bindings(self) -> Iterator[Item]:
        if not self.state.tenants:
            return
        for detail in static_bindings(self._client):
            binding = detail.binding
            if detail.is_static and self.state.owns_tenant(binding.table_id):
                yield Binding(binding.table_id, binding.client, binding.pool_address)


def attached(pid: int | None, links: Iterable[str]) -> dict[str, bool]:
    """Return for each of the links that exist whether VPP has a packet socket on it.

    pid: VPP's process id. A link that was deleted and made again under the same name is another link: VPP's
    socket is on none then, and VPP does not notice. When VPP's process cannot be seen, its sockets cannot
    either, and every link that exists counts as attached.
    """
    names = {}
    for name in links:
        with contextlib.suppress(OSError):
            names[name] = socket.if_nametoindex(name)
    indexes = _packet_sockets(pid)
    return {name: indexes is None or index in indexes for name, index in names.items()}


_PACKET_SOCKET = re.compile(r"^\w+ +\d+ +\d+ +\w+ +(-?\d+) .* (\d+)$")


def _packet_sockets(pid: int | None) -> set[int] | None:
    """Return the indexes of the links that a process has packet sockets on; None when that cannot be seen."""
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
