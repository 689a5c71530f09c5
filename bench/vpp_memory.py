# SPDX-License-Identifier: Apache-2.0
"""Memory of VPP for mappings, tenants and client bindings: what it has after, less what it had before."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

from bench.measurement import Measurement, WrongState
from bench.vpp_clocks import FIP64, Bench, started
from bench.vpp_packets import Flows, fixed_ip, floating_ip

MAPPINGS = 100_000
TENANTS = 100
POOLS = (("default pool, /16", "100.64.0.0/16", 65_000), ("pool /10", "100.64.0.0/10", 1_000_000))
QUICK_POOLS = (("default pool, /16", "100.64.0.0/16", 5000), ("pool /10", "100.64.0.0/10", 20_000))
_UPLINK = 16
_FIRST_TENANT = 1000
_OTHERS = 2000


class MemoryMeter:
    """Reads how much memory one VPP has."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def _counter_bytes(self) -> int:
        """Bytes that the stats segment has used of its pages."""
        text = Path(f"/proc/{self.bench.vpp.pid}/smaps").read_text()
        found = re.findall(r"/memfd:stat segment .*?^Rss: +(\d+) kB", text, re.DOTALL | re.MULTILINE)
        return sum(int(kib) * 1024 for kib in found)

    def read(self) -> tuple[int, int]:
        """Return (resident memory, main heap) in bytes.

        Resident are heap, bindings and all else of its own, and its counters, but neither packets nor files.
        """
        return self.bench.resident() + self._counter_bytes(), self.bench.heap()


def _for_each(what: str, before: tuple[int, int], after: tuple[int, int], count: int) -> Measurement:
    resident, heap = ((b - a) / count for a, b in zip(before, after, strict=True))
    return Measurement(what, resident, "bytes", peer=f"of it on the main heap: {heap:,.0f}")


def measure(quick: bool) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory(prefix="f64b-") as directory, started(Path(directory), [FIP64]) as bench:
        memory = MemoryMeter(bench)
        yield Measurement("VPP with nothing in it, resident", bench.resident() / (1 << 20), "MiB",
                          peer=f"main heap: {bench.heap() / (1 << 20):.1f} MiB")
        before, count = memory.read(), 10_000 if quick else MAPPINGS
        bench.add_mappings(count)
        yield _for_each(f"per mapping, {count:,} of them", before, memory.read(), count)
        before = memory.read()
        for number in range(TENANTS):
            _add_tenant(bench, _OTHERS + number, POOLS[0][1])
        yield _for_each(f"per tenant without clients, {TENANTS} of them, {POOLS[0][0]}", before,
                        memory.read(),
                      TENANTS)
        for number, (words, pool, clients) in enumerate(QUICK_POOLS if quick else POOLS):
            yield _bindings(memory, Path(directory), _FIRST_TENANT + number, words, pool, clients)


def _add_tenant(bench: Bench, table: int, pool: str) -> None:
    network = IPv4Network(pool)
    bench.api.ip_table_add_del(is_add=True, table={"table_id": table, "is_ip6": False})
    tenant = {"table_id": table, "pool_first": network[1], "pool_last": network[-2], "address4": "192.0.2.1",
              "address6": "2001:db8::1", "mtu4": 1500, "mtu6": 1500, "lowest_ipv6_mtu": 1280,
              "hash_seed": table, "idle_timeout": 0, "max_per_64": 0, "tag": "bench"}
    if retval := bench.api.fip64_tenant_add_del(is_add=True, tenant=tenant).retval:
        raise WrongState(f"tenant {table}: {retval}")


def _bindings(memory: MemoryMeter, directory: Path, table: int, words: str, pool: str,
              clients: int) -> Measurement:
    """Let each client send a packet to a floating IP of a new tenant."""
    bench = memory.bench
    _add_tenant(bench, table, pool)
    mapping = {"floating": floating_ip(0), "fixed": fixed_ip(0), "ip6_table_id": _UPLINK, "table_id": table}
    if retval := bench.api.fip64_mapping_add_del(is_add=True, count=1, mappings=[mapping]).retval:
        raise WrongState(f"the mapping of tenant {table}: {retval}")
    flows = Flows(clients, 1)
    file = directory / "first.pcap"
    flows.write(file, FIP64, bench.macs["pg0"])
    stream = bench.add_stream(file, "pg0")
    file.unlink()
    before = memory.read()
    bench.run_once(stream)
    after = memory.read()
    bench.cli(f"packet-generator delete {stream}")
    found = next(detail.n_bindings for detail in bench.api.fip64_tenant_dump()
                 if detail.tenant.table_id == table)
    if found != len(flows):
        raise WrongState(f"{found} bindings of {len(flows)} clients")
    return _for_each(f"per client binding, {words}, {clients:,} of them", before, after, clients)
