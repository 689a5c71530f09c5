# SPDX-License-Identifier: Apache-2.0
"""The plugin's control plane as tests drive it: short names for its messages, and its errors by name."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from lab.vpp import Vpp

POOL = ("100.64.0.1", "100.64.0.254")
EAGAIN = -165
ALL = 0xFFFFFFFF


class Mapping(NamedTuple):
    floating: IPv6Address
    fixed: IPv4Address
    ip6_table_id: int
    table_id: int


class Binding(NamedTuple):
    client: IPv6Address
    pool_address: IPv4Address
    table_id: int
    is_static: bool


def mapping(floating: str, fixed: str, table_id: int = 1, ip6_table_id: int = 0) -> dict[str, Any]:
    return {"floating": floating, "fixed": fixed, "ip6_table_id": ip6_table_id, "table_id": table_id}


def binding(client: str, pool_address: str = "0.0.0.0", table_id: int = 1) -> dict[str, Any]:
    return {"client": client, "pool_address": pool_address, "table_id": table_id}


def tenant(table_id: int = 1, **changes: Any) -> dict[str, Any]:
    """Fields of a good tenant, with `changes`."""
    return {"table_id": table_id, "pool_first": POOL[0], "pool_last": POOL[1], "address4": "192.0.2.1",
            "address6": "2001:db8::1", "mtu4": 1500, "mtu6": 1500, "lowest_ipv6_mtu": 1280, "hash_seed": 7,
            "idle_timeout": 0, "max_per_64": 0, "tag": "", **changes}


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write_pcap(file: Path, frames: list[bytes]) -> None:
    """Frames without a link layer."""
    file.write_bytes(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + b"".join(
        struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames))


class Control:
    """Calls of one API client to one VPP."""

    def __init__(self, vpp: Vpp, api: Any) -> None:
        self.vpp = vpp
        self.api = api

    def add_table(self, table_id: int, ip6: bool = False) -> None:
        reply = self.api.ip_table_add_del(is_add=True, table={"table_id": table_id, "is_ip6": ip6})
        assert reply.retval == 0

    def del_table(self, table_id: int, ip6: bool = False) -> None:
        reply = self.api.ip_table_add_del(is_add=False, table={"table_id": table_id, "is_ip6": ip6})
        assert reply.retval == 0

    # Tenants

    def set_tenant(self, table_id: int = 1, **changes: Any) -> int:
        return self.api.fip64_tenant_add_del(is_add=True, tenant=tenant(table_id, **changes)).retval

    def del_tenant(self, table_id: int = 1) -> int:
        return self.api.fip64_tenant_add_del(is_add=False, tenant={"table_id": table_id}).retval

    def tenants(self) -> dict[int, Any]:
        details = self.api.fip64_tenant_dump(context=1)  # so that dumps can be compared
        found = {one.tenant.table_id: one for one in details}
        assert len(found) == len(details)
        return found

    # Mappings

    def set_mappings(self, *mappings: dict[str, Any]) -> list[int]:
        return self._each(self.api.fip64_mapping_add_del(
            is_add=True, count=len(mappings), mappings=list(mappings)), len(mappings))

    def set_mapping(self, *args: Any, **kwargs: Any) -> int:
        return self.set_mappings(mapping(*args, **kwargs))[0]

    def del_mappings(self, *floating: str, ip6_table_id: int = 0) -> list[int]:
        mappings = [{"floating": one, "ip6_table_id": ip6_table_id} for one in floating]
        return self._each(self.api.fip64_mapping_add_del(
            is_add=False, count=len(mappings), mappings=mappings), len(mappings))

    def mappings(self, table_id: int = ALL) -> set[Mapping]:
        details = self.api.fip64_mapping_dump(table_id=table_id)
        found = {Mapping(one.floating, one.fixed, one.ip6_table_id, one.table_id)
                 for one in (detail.mapping for detail in details)}
        assert len(found) == len(details)
        return found

    # Bindings

    def set_bindings(self, *bindings: dict[str, Any]) -> list[int]:
        return self._each(self.api.fip64_binding_add_del(
            is_add=True, count=len(bindings), bindings=list(bindings)), len(bindings))

    def set_binding(self, *args: Any, **kwargs: Any) -> int:
        return self.set_bindings(binding(*args, **kwargs))[0]

    def del_bindings(self, *clients: str, table_id: int = 1) -> list[int]:
        bindings = [binding(one, table_id=table_id) for one in clients]
        return self._each(self.api.fip64_binding_add_del(
            is_add=False, count=len(bindings), bindings=bindings), len(bindings))

    def get_bindings(self, table_id: int = ALL, only_static: bool = False) -> tuple[list[Binding], int]:
        """All bindings, by the cursor; and in how many replies they came."""
        cursor = cursor_table_id = calls = 0
        found: list[Binding] = []
        while True:
            reply, details = self.api.fip64_binding_get(
                cursor=cursor, cursor_table_id=cursor_table_id, table_id=table_id, only_static=only_static)
            calls += 1
            found += [Binding(one.binding.client, one.binding.pool_address, one.binding.table_id,
                              one.is_static) for one in details]
            if reply.retval == 0:
                return found, calls
            assert reply.retval == EAGAIN
            cursor, cursor_table_id = reply.cursor, reply.cursor_table_id

    def bindings(self, table_id: int = ALL, only_static: bool = False) -> set[Binding]:
        found, _calls = self.get_bindings(table_id, only_static)
        assert len(set(found)) == len(found)
        return set(found)

    @staticmethod
    def _each(reply: Any, count: int) -> list[int]:
        """The retvals; the reply's own retval must be the first failure."""
        assert reply.count == len(reply.retvals) == count
        assert reply.retval == next((one for one in reply.retvals if one), 0)
        return list(reply.retvals)

    def heap_used(self) -> int:
        """Bytes of VPP's main heap in use, as of now: VPP counts them every second."""
        time.sleep(2.2)
        with self.vpp.stats() as stats:
            return sum(stats["/mem/main heap/used"])

    def remove_everything(self) -> None:
        for table_id in self.tenants():
            assert self.del_tenant(table_id) == 0
        for ip6 in (False, True):
            for one in self.api.ip_table_dump():
                if one.table.table_id and one.table.is_ip6 == ip6:
                    self.del_table(one.table.table_id, ip6)
