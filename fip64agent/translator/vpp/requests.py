# SPDX-License-Identifier: Apache-2.0
"""The requests that make and remove items in VPP. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fip64agent.translator.vpp.api.pipeline import Request
from fip64agent.translator.vpp.items import (
    Address,
    Binding,
    HostInterface,
    Mapping,
    Neighbor,
    NeighborAge,
    Route,
    SubInterface,
    Table,
    Tenant64,
)

Indexes = dict[str, int]
"""{tag of an interface: its sw_if_index}"""

BATCH = 128
"""Mappings or client bindings in one message."""
DEFAULT_NEIGHBORS = 50000
"""How many neighbors of one IP version VPP keeps when it is not configured; it never removes one then."""
_NONE = 0xFFFFFFFF
_ETHERNET, _QDISC_BYPASS, _VERSION_2 = 1, 1, 8
_NORMAL, _DROP = 0, 2
_STATIC = 1
_FRAME, _FRAME_OVERHEAD = 2048, 128
"""Bytes: the frames of a host-interface's rings are a multiple of _FRAME, and _FRAME_OVERHEAD of each are not
for the packet."""


def batches(items: Sequence) -> Iterator[Sequence]:
    """Cut items into parts that one message can hold."""
    for start in range(0, len(items), BATCH):
        yield items[start:start + BATCH]


# -- tables ---------------------------------------------------------------------------------------


def add_table(item: Table) -> Request:
    return "ip_table_add_del", {"is_add": True, "table": _table(item.version, item.number, item.name)}


def remove_table(version: int, number: int) -> Request:
    return "ip_table_add_del", {"is_add": False, "table": _table(version, number)}


def flush_table(version: int, number: int) -> Request:
    """Remove the routes that were added over the API; the entries of the plugin stay."""
    return "ip_table_flush", {"table": _table(version, number)}


def _table(version: int, number: int, name: str = "") -> dict[str, Any]:
    return {"table_id": number, "is_ip6": version == 6, "name": name}


# -- interfaces -----------------------------------------------------------------------------------


def frame_size(mtu: int) -> int:
    """Return the bytes of a frame in the rings of a host-interface. They cannot be changed later."""
    return -(-(mtu + _FRAME_OVERHEAD) // _FRAME) * _FRAME


def add_host_interface(item: HostInterface) -> Request:
    # VPP's default frames take 66 KiB for each packet that waits, and 66 MiB for an interface. Its default is
    # also version 3 of packet sockets, which delivers packets up to 1 ms late: a ping through VPP took 1.2 to
    # 2 ms instead of 0.4.
    frame = frame_size(item.mtu)
    return "af_packet_create_v3", {
        "mode": _ETHERNET, "hw_addr": item.mac, "use_random_hw_addr": False, "host_if_name": item.link,
        "rx_frame_size": frame, "tx_frame_size": frame, "rx_frames_per_block": 0, "tx_frames_per_block": 0,
        "flags": _QDISC_BYPASS | _VERSION_2}


def configure_host_interface(item: HostInterface, index: int) -> list[Request]:
    """Return what a new interface needs. The tag comes first: it marks the interface as this agent's."""
    table = [_set_table(index, 6, item.table)] if item.table else []
    return [_set_tag(index, item.tag), *table, *set_mtu_and_flags(item, index)]


def remove_host_interface(link: str) -> Request:
    return "af_packet_delete", {"host_if_name": link}


def add_sub_interface(item: SubInterface, interfaces: Indexes) -> Request:
    return "create_vlan_subif", {"sw_if_index": interfaces[item.parent], "vlan_id": item.vlan}


def configure_sub_interface(item: SubInterface, index: int) -> list[Request]:
    """Return what a new interface needs. The tag comes first: it marks the interface as this agent's."""
    return [_set_tag(index, item.tag), _set_table(index, 4, item.table), *set_mtu_and_flags(item, index)]


def remove_sub_interface(index: int) -> Request:
    return "delete_subif", {"sw_if_index": index}


def _set_tag(index: int, tag: str) -> Request:
    return "sw_interface_tag_add_del", {"is_add": True, "sw_if_index": index, "tag": tag}


def _set_table(index: int, version: int, number: int) -> Request:
    return "sw_interface_set_table", {"sw_if_index": index, "is_ipv6": version == 6, "vrf_id": number}


def set_mtu_and_flags(item: HostInterface | SubInterface, index: int) -> list[Request]:
    return [("sw_interface_set_mtu", {"sw_if_index": index, "mtu": [item.mtu, 0, 0, 0]}),
            ("sw_interface_set_flags", {"sw_if_index": index, "flags": int(item.up)})]


# -- layer 3 --------------------------------------------------------------------------------------


def add_address(item: Address, interfaces: Indexes) -> Request:
    return _address(item, interfaces, True)


def remove_address(item: Address, interfaces: Indexes) -> Request:
    return _address(item, interfaces, False)


def _address(item: Address, interfaces: Indexes, is_add: bool) -> Request:
    return "sw_interface_add_del_address", {
        "sw_if_index": interfaces[item.interface], "is_add": is_add, "del_all": False, "prefix": item.address}


def add_neighbor(item: Neighbor, interfaces: Indexes) -> Request:
    return _neighbor(item, interfaces, True)


def remove_neighbor(item: Neighbor, interfaces: Indexes) -> Request:
    return _neighbor(item, interfaces, False)


def _neighbor(item: Neighbor, interfaces: Indexes, is_add: bool) -> Request:
    return "ip_neighbor_add_del", {"is_add": is_add, "neighbor": {
        "sw_if_index": interfaces[item.interface], "flags": _STATIC, "mac_address": item.mac,
        "ip_address": item.address}}


def set_neighbor_age(item: NeighborAge) -> Request:
    return "ip_neighbor_config", {"af": int(item.version == 6), "max_number": item.limit, "max_age": item.age,
                                  "recycle": item.recycle}


def reset_neighbor_age(version: int) -> Request:
    """Return to VPP's default."""
    return set_neighbor_age(NeighborAge(version, DEFAULT_NEIGHBORS, 0, False))


def add_route(item: Route, interfaces: Indexes) -> Request:
    version = item.destination.version
    path = {"sw_if_index": interfaces[item.interface] if item.interface else _NONE, "table_id": 0,
            "rpf_id": _NONE, "weight": 1, "preference": 0, "type": _NORMAL if item.interface else _DROP,
            "flags": 0, "proto": int(version == 6), "n_labels": 0,
            "nh": {"address": {f"ip{version}": item.via} if item.via is not None else None,
                   "via_label": 0, "obj_id": 0, "classify_table_index": 0}}
    return _route(item, True, [path])


def remove_route(item: Route) -> Request:
    return _route(item, False, [])


def _route(item: Route, is_add: bool, paths: list[dict[str, Any]]) -> Request:
    return "ip_route_add_del", {"is_add": is_add, "is_multipath": False, "route": {
        "table_id": item.table, "stats_index": 0, "prefix": item.destination, "n_paths": len(paths),
        "paths": paths}}


# -- the plugin -----------------------------------------------------------------------------------


def add_tenant(item: Tenant64) -> Request:
    return "fip64_tenant_add_del", {"is_add": True, "tenant": {
        "table_id": item.table, "pool_first": item.pool_first, "pool_last": item.pool_last,
        "address4": item.address4, "address6": item.address6, "mtu4": item.mtu4, "mtu6": item.mtu6,
        "lowest_ipv6_mtu": item.lowest_ipv6_mtu, "zero_traffic_class": item.zero_traffic_class,
        "drop_udp_zero_checksum": item.drop_udp_zero_checksum,
        "hash_seed": item.hash_seed, "idle_timeout": item.idle_timeout, "max_per_64": item.max_per_64,
        "tag": item.tag}}


def remove_tenant(number: int) -> Request:
    return "fip64_tenant_add_del", {"is_add": False, "tenant": {
        "table_id": number, "pool_first": "0.0.0.0", "pool_last": "0.0.0.0", "address4": "0.0.0.0",
        "address6": "::", "mtu4": 0, "mtu6": 0, "lowest_ipv6_mtu": 0, "zero_traffic_class": False,
        "drop_udp_zero_checksum": False, "hash_seed": 0, "idle_timeout": 0, "max_per_64": 0, "tag": ""}}


def add_mappings(items: Sequence[Mapping]) -> Request:
    return _mappings(True, [_mapping(item) for item in items])


def remove_mappings(items: Sequence[Mapping]) -> Request:
    return _mappings(False, [_mapping(item) for item in items])


def remove_found_mappings(found: Sequence[Any]) -> Request:
    """Remove mappings as VPP's details have them."""
    return _mappings(False, [mapping._asdict() for mapping in found])


def _mapping(item: Mapping) -> dict[str, Any]:
    return {"floating": item.floating, "fixed": item.fixed, "ip6_table_id": item.ip6_table,
            "table_id": item.table}


def _mappings(is_add: bool, mappings: list[dict[str, Any]]) -> Request:
    return "fip64_mapping_add_del", {"is_add": is_add, "count": len(mappings), "mappings": mappings}


def add_bindings(items: Sequence[Binding]) -> Request:
    return _bindings(True, [_binding(item) for item in items])


def remove_bindings(items: Sequence[Binding]) -> Request:
    return _bindings(False, [_binding(item) for item in items])


def remove_found_bindings(found: Sequence[Any]) -> Request:
    """Remove client bindings as VPP's details have them."""
    return _bindings(False, [binding._asdict() for binding in found])


def _binding(item: Binding) -> dict[str, Any]:
    return {"client": item.client, "pool_address": item.address, "table_id": item.table}


def _bindings(is_add: bool, bindings: list[dict[str, Any]]) -> Request:
    return "fip64_binding_add_del", {"is_add": is_add, "count": len(bindings), "bindings": bindings}
