# SPDX-License-Identifier: Apache-2.0
"""10,000 mappings into an empty VPP by the driver, beside vpp_papi; reading them back."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

from bench.figures import Figure, WrongState, median
from fip64agent import hub
from fip64agent.plan.desired import Tenant
from fip64agent.reconcile import diff
from fip64agent.translator.vpp import requests
from fip64agent.translator.vpp.items import Mapping
from fip64agent.translator.vpp.layout import Site, expand
from fip64agent.translator.vpp.room import VppRoom
from fip64agent.translator.vpp.startup import StartupOptions
from lab import vpp as lab_vpp
from lab.vpp import Vpp

FIPS, TENANTS = 10_000, 100
IP6_TABLE = 1001
_FIRST = IPv6Address("2001:db8:f::1:0")


def tenant(number: int) -> Tenant:
    pool = IPv4Network("100.64.0.0/24")
    return Tenant(f"tenant-{number}", "vpp", "", "", number + 1, "ovs-dl", "vpp-dl", "",
                  "02:f6:40:ff:ff:ff", pool, IPv6Address("2001:db8:f::1"), (), pool_first=pool[1],
                  pool_last=pool[-2])


def mappings(count: int) -> list[Mapping]:
    return [Mapping(_FIRST + number, IPv4Address("10.0.0.5") + number // TENANTS, IP6_TABLE,
                    number % TENANTS + 1) for number in range(count)]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def papi(vpp: Vpp, wanted: list[tuple[str, dict]]) -> float:
    """Send messages with vpp_papi, all of them before the first answer is read; returns the seconds."""
    with vpp.papi("bare") as api:
        client = api.client

        def work() -> None:
            for name, fields in wanted:
                message = client.messages[name]
                number = client.transport.get_msg_index(f"{name}_{message.crc[2:]}")
                client._call_vpp_async(number, message, **fields)
            for _ in wanted:
                reply = client.read_blocking(timeout=30)
                if reply is None or reply.retval:
                    raise WrongState(f"vpp_papi: {reply}")

        return _seconds(work)


class Bench:
    def __init__(self, directory: Path, vpp: Vpp) -> None:
        self.vpp = vpp
        self.room = VppRoom(StartupOptions(str(directory / "none")), seed=b"bench", launch="external",
                            api_socket=str(vpp.api_socket), stats_socket=str(vpp.stats_socket))
        self.room.start()
        while (reason := self.room.ready()) is not None:
            hub.sleep(0.05)
        if reason:
            raise WrongState(reason)
        site = Site(b"bench", "")
        # Of the tenants only what needs no interface.
        self.base = [item for number in range(TENANTS) for item in expand(site, tenant(number))
                     if type(item).__name__ in ("Table", "Tenant64")]
        with vpp.papi() as api:
            api.ip_table_add_del(is_add=True, table={"table_id": IP6_TABLE, "is_ip6": True,
                                                     "name": "fip64:uplink:bench"})
        self.room.actual()
        self.make(self.base)

    def make(self, items: list) -> None:
        if failed := self.room.apply([(None, item) for item in items]):
            raise WrongState(f"{len(failed)} items: {next(iter(failed.values()))}")

    def remove(self, items: list) -> None:
        if failed := self.room.prune(items):
            raise WrongState(f"{len(failed)} items: {next(iter(failed.values()))}")

    def reconcile(self, items: list) -> None:
        work = diff.whole(iter(items), self.room.actual())
        if work.apply or len(work.prune) != 1:  # the IPv6 table
            raise WrongState(f"reconcile finds {len(work.apply)} and {len(work.prune)} differences")


def measure(quick: bool) -> Iterator[Figure]:
    if reason := lab_vpp.missing():
        raise WrongState(f"nothing measured: {reason}")
    rounds = 3 if quick else 15
    wanted = mappings(FIPS)
    messages = [requests.mappings(part) for part in requests.batches(wanted)]
    driver, bare, reading, single = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="f64b-") as directory, \
            Vpp(Path(directory) / "vpp", heap="1G", statseg="128M", poll_sleep=0) as vpp:
        bench = Bench(Path(directory), vpp)
        for _ in range(rounds):
            bare.append(papi(vpp, messages))
            bench.remove(wanted)
            driver.append(_seconds(lambda: bench.make(wanted)))
            reading.append(_seconds(lambda: bench.reconcile([*bench.base, *wanted])))
            other = dataclasses.replace(wanted[7], fixed=IPv4Address("10.200.0.1"))
            single.append(1000 * _seconds(lambda other=other: bench.room.apply([(wanted[7], other)])))
            bench.remove(wanted)
        bench.room.close()
    ratios = [one / other for one, other in zip(driver, bare, strict=True)]
    yield Figure("10,000 mappings into an empty VPP, vpp_papi = 1", median(ratios), "x", 1.5,
                 peer=f"vpp_papi pipelined: {median(bare):.2f} s, driver: {median(driver):.2f} s",
                 samples=ratios)
    yield Figure("reconcile of 10,000 unchanged mappings, p50", median(reading), "s", 1, samples=reading)
    yield Figure("one mapping among 10,000 changed in VPP, p50", median(single), "ms", samples=single)
