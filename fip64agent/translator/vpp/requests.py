# SPDX-License-Identifier: Apache-2.0
"""The requests that make and remove items: (message, fields) pairs for VPP's API. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fip64agent.translator.vpp.api.pipeline import Request
from fip64agent.translator.vpp.items import (
    Address,
    HostInterface,
    Neighbour,
    NeighbourAge,
    Route,
    SubInterface,
    Table,
    Tenant64,
)

Indexes = Mapping[str, int]
"""Tag -> sw_if_index."""

BATCH = 128
"""Mappings or bindings in one message."""
NEIGHBOURS = 50000
"""Neighbours that VPP has room for when nobody says otherwise; then it keeps them for ever."""
_NONE = 0xFFFFFFFF
_ETHERNET, _QDISC_BYPASS, _VERSION_2 = 1, 1, 8
_NORMAL, _DROP = 0, 2
_STATIC = 1
_FRAME, _AROUND = 2048, 128
"""Bytes: a slot of VPP's rings is a multiple of the one, and has the other around a packet."""


def batches(items: Sequence) -> Iterator[Sequence]:
    for start in range(0, len(items), BATCH):
        yield items[start:start + BATCH]


# -- tables ---------------------------------------------------------------------------------------


def table(item: Table) -> Request:
    return "ip_table_add_del", {"is_add": True, "table": _table(item.version, item.number, item.name)}


def no_table(version: int, number: int) -> Request:
    return "ip_table_add_del", {"is_add": False, "table": _table(version, number)}


def flush(version: int, number: int) -> Request:
    """Remove the routes of the API's; the plugin's entries stay."""
    return "ip_table_flush", {"table": _table(version, number)}


def _table(version: int, number: int, name: str = "") -> dict[str, Any]:
    return {"table_id": number, "is_ip6": version == 6, "name": name}


# -- interfaces -----------------------------------------------------------------------------------


def slot(mtu: int) -> int:
    """Return the bytes of a slot in the rings of a host-interface: they are made with it, and stay."""
    return -(-(mtu + _AROUND) // _FRAME) * _FRAME


def host_interface(item: HostInterface) -> Request:
    # VPP's own choice is 66 KiB for each packet that waits, 66 MiB for an interface; and version 3 of packet
    # sockets, which hands over packets up to 1 ms late: a ping through VPP took 1.2 to 2 ms instead of 0.4.
    frame = slot(item.mtu)
    return "af_packet_create_v3", {
        "mode": _ETHERNET, "hw_addr": item.mac, "use_random_hw_addr": False, "host_if_name": item.link,
        "rx_frame_size": frame, "tx_frame_size": frame, "rx_frames_per_block": 0, "tx_frames_per_block": 0,
        "flags": _QDISC_BYPASS | _VERSION_2}


def settle_host_interface(item: HostInterface, index: int) -> list[Request]:
    """What an interface gets that was made, or has changed. The tag first: from then on it is ours."""
    wanted = [_tag(index, item.tag)]
    if item.table:
        wanted.append(("sw_interface_set_table",
                       {"sw_if_index": index, "is_ipv6": True, "vrf_id": item.table}))
    return [*wanted, *mtu_and_flags(item, index)]


def no_host_interface(link: str) -> Request:
    return "af_packet_delete", {"host_if_name": link}


def sub_interface(item: SubInterface, interfaces: Indexes) -> Request:
    return "create_vlan_subif", {"sw_if_index": interfaces[item.parent], "vlan_id": item.vlan}


def settle_sub_interface(item: SubInterface, index: int) -> list[Request]:
    return [_tag(index, item.tag),
            ("sw_interface_set_table", {"sw_if_index": index, "is_ipv6": False, "vrf_id": item.table}),
            *mtu_and_flags(item, index)]


def no_sub_interface(index: int) -> Request:
    return "delete_subif", {"sw_if_index": index}


def _tag(index: int, tag: str) -> Request:
    return "sw_interface_tag_add_del", {"is_add": True, "sw_if_index": index, "tag": tag}


def mtu_and_flags(item: HostInterface | SubInterface, index: int) -> list[Request]:
    return [("sw_interface_set_mtu", {"sw_if_index": index, "mtu": [item.mtu, 0, 0, 0]}),
            ("sw_interface_set_flags", {"sw_if_index": index, "flags": int(item.up)})]


# -- layer 3 --------------------------------------------------------------------------------------


def address(item: Address, interfaces: Indexes, is_add: bool = True) -> Request:
    return "sw_interface_add_del_address", {
        "sw_if_index": interfaces[item.interface], "is_add": is_add, "del_all": False, "prefix": item.address}


def neighbour(item: Neighbour, interfaces: Indexes, is_add: bool = True) -> Request:
    return "ip_neighbor_add_del", {"is_add": is_add, "neighbor": {
        "sw_if_index": interfaces[item.interface], "flags": _STATIC, "mac_address": item.mac,
        "ip_address": item.address}}


def neighbour_age(item: NeighbourAge) -> Request:
    return "ip_neighbor_config", {"af": int(item.version == 6), "max_number": item.limit, "max_age": item.age,
                                  "recycle": item.recycle}


def no_neighbour_age(version: int) -> Request:
    """VPP's own choice."""
    return neighbour_age(NeighbourAge(version, NEIGHBOURS, 0, False))


def route(item: Route, interfaces: Indexes) -> Request:
    version = item.destination.version
    path = {"sw_if_index": interfaces[item.interface] if item.interface else _NONE, "table_id": 0,
            "rpf_id": _NONE, "weight": 1, "preference": 0, "type": _NORMAL if item.interface else _DROP,
            "flags": 0, "proto": int(version == 6), "n_labels": 0,
            "nh": {"address": {f"ip{version}": item.via} if item.via is not None else None,
                   "via_label": 0, "obj_id": 0, "classify_table_index": 0}}
    return _route(item, True, [path])


def no_route(item: Route) -> Request:
    return _route(item, False, [])


def _route(item: Route, is_add: bool, paths: list[dict[str, Any]]) -> Request:
    return "ip_route_add_del", {"is_add": is_add, "is_multipath": False, "route": {
        "table_id": item.table, "stats_index": 0, "prefix": item.destination, "n_paths": len(paths),
        "paths": paths}}


# -- the plugin -----------------------------------------------------------------------------------


def tenant(item: Tenant64) -> Request:
    return "fip64_tenant_add_del", {"is_add": True, "tenant": {
        "table_id": item.table, "pool_first": item.pool_first, "pool_last": item.pool_last,
        "address4": item.address4, "address6": item.address6, "mtu4": item.mtu4, "mtu6": item.mtu6,
        "lowest_ipv6_mtu": item.lowest_ipv6_mtu, "zero_traffic_class": item.zero_traffic_class,
        "drop_udp_zero_checksum": item.drop_udp_zero_checksum,
        "hash_seed": item.hash_seed, "idle_timeout": item.idle_timeout, "max_per_64": item.max_per_64,
        "tag": item.tag}}


def no_tenant(number: int) -> Request:
    return "fip64_tenant_add_del", {"is_add": False, "tenant": {
        "table_id": number, "pool_first": "0.0.0.0", "pool_last": "0.0.0.0", "address4": "0.0.0.0",
        "address6": "::", "mtu4": 0, "mtu6": 0, "lowest_ipv6_mtu": 0, "zero_traffic_class": False,
        "drop_udp_zero_checksum": False, "hash_seed": 0, "idle_timeout": 0, "max_per_64": 0, "tag": ""}}


def mappings(items: Sequence, is_add: bool = True) -> Request:
    """For Mapping items, or for mappings as VPP tells of them."""
    return "fip64_mapping_add_del", {"is_add": is_add, "count": len(items), "mappings": [
        {"floating": item.floating, "fixed": item.fixed, "ip6_table_id": item.ip6_table,
         "table_id": item.table}
        if hasattr(item, "ip6_table") else item._asdict() for item in items]}


def bindings(items: Sequence, is_add: bool = True) -> Request:
    """For Binding items, or for bindings as VPP tells of them."""
    return "fip64_binding_add_del", {"is_add": is_add, "count": len(items), "bindings": [
        {"client": item.client, "pool_address": item.address, "table_id": item.table}
        if hasattr(item, "address") else item._asdict() for item in items]}
