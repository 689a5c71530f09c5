# SPDX-License-Identifier: Apache-2.0
"""The fip64 plugin, VPP's nat64 and VPP's map-t in one VPP, in turns, with VPP's packet generator.

All three translate the same kind of packets, UDP, on interfaces of their own. The answers are the packets
that came out, turned around. Flows are visited in random order, so caches help as little as they would with
many users. Clocks are those of VPP's `show runtime`: time-stamp counter per packet, by node. Of several runs
the quietest counts: whatever else runs on the machine only ever adds to it.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measurement import Measurement, WrongState, shown
from bench.vpp_packets import Flows, count_frames, fixed_ip, floating_ip, write_answers
from lab import cpus
from lab import vpp as lab_vpp
from lab.vpp import Vpp

CLIENTS = (1, 1_000, 100_000, 1_000_000)
FLOATING = (1, 10_000, 100_000)
QUICK_CLIENTS, QUICK_FLOATING = (1, 1_000), (1, 100)
FRAMES = 256
FIP64, NAT64, MAPT = "fip64", "nat64", "map-t"
NODES = {
    (FIP64, 6): ("ip6-fip64",),
    (FIP64, 4): ("ip4-fip64",),
    (NAT64, 6): ("nat64-in2out",),
    (NAT64, 4): ("nat64-out2in",),
    (MAPT, 6): ("ip6-map-t", "ip6-map-t-tcp-udp"),
    (MAPT, 4): ("ip4-map-t", "ip4-map-t-tcp-udp"),
}
REASSEMBLY = {6: "ip6-sv-reassembly-feature", 4: "ip4-sv-reassembly-feature"}
DIRECTIONS = {6: "IPv6 to IPv4", 4: "IPv4 to IPv6"}
_POOL = ("100.64.0.0", "100.95.255.255")
_UPLINK, _TENANT = 16, 11


@dataclass
class TranslatorSetup:
    """One of the three translators with its two interfaces."""

    name: str
    ip6_interface: int
    """Number of its packet generator interface on the IPv6 side; the other one is the next."""
    ip6_table: int = 0
    ip4_table: int = 0

    @property
    def interfaces(self) -> dict[int, str]:
        """Its interfaces by IP version."""
        return {6: f"pg{self.ip6_interface}", 4: f"pg{self.ip6_interface + 1}"}


SETUPS = {setup.name: setup for setup in (TranslatorSetup(FIP64, 0, _UPLINK, _TENANT),
                                           TranslatorSetup(NAT64, 2), TranslatorSetup(MAPT, 4))}


@dataclass
class Sample:
    """Clocks per packet in one run."""

    nodes: dict[str, float]

    def of(self, translator: str, version: int) -> float:
        """Return the clocks of the translator's own nodes; `version`: the IP version that comes in."""
        return sum(self.nodes[name] for name in NODES[translator, version])

    def reassembly(self, version: int) -> float:
        """Return the clocks of the reassembly of fragments, which nat64 and map-t need."""
        return self.nodes.get(REASSEMBLY[version], 0.0)

    def graph(self) -> float:
        """All that a packet costs between the generator and the sending interface."""
        return sum(clocks for name, clocks in self.nodes.items() if name != "pg-input")


@dataclass
class Case:
    """What was measured of one translator with so many clients and floating IPs."""

    samples: dict[int, list[Sample]] = field(default_factory=lambda: {6: [], 4: []})


class Bench:
    """A VPP with the translators that are compared."""

    def __init__(self, vpp: Vpp, api: Any) -> None:
        self.vpp = vpp
        self.api = api
        self.macs: dict[str, bytes] = {}
        self._stream = 0

    def cli(self, command: str) -> str:
        """Run a CLI command; return what it prints. Raises: WrongState when VPP refuses it."""
        done = self.api.cli_inband(cmd=command)
        if done.retval:
            raise WrongState(f"{command}: {done.reply.strip()}")
        return done.reply

    def resident(self) -> int:
        """Bytes of memory that VPP has."""
        for line in Path(f"/proc/{self.vpp.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise WrongState("no VmRSS in /proc")

    def heap(self) -> int:
        """Bytes used of the main heap."""
        shown_heap = self.cli("show memory main-heap")
        match = re.search(r"used: ([\d.]+)([KMG]?)", shown_heap)
        if not match:
            raise WrongState(f"show memory main-heap: {shown_heap}")
        return int(float(match[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[match[2]])

    # Setting up

    def set_up(self, translators: list[str]) -> None:
        """Configure these translators, each on two packet generator interfaces."""
        for table, ip6 in ((_UPLINK, True), (_TENANT, False)):
            self.api.ip_table_add_del(is_add=True, table={"table_id": table, "is_ip6": ip6})
        for name in translators:
            self._interfaces(SETUPS[name])
        if NAT64 in translators:
            self.cli("nat64 plugin enable bib-buckets 1048576 bib-memory 1073741824 "
                     "st-buckets 2097152 st-memory 2147483648")
            self.cli("nat64 add prefix 64:ff9b::/96")
            self.cli("nat64 add pool address 198.18.0.1 - 198.18.0.64")
            self.cli("set interface nat64 in pg2")
            self.cli("set interface nat64 out pg3")
        if MAPT in translators:
            self.cli("map add domain ip4-pfx 192.0.2.7/32 ip6-pfx 2001:db8:7::/64 "
                     "ip6-src 64:ff9b:1::/96")
            self.cli("map interface pg4 map-t")
            self.cli("map interface pg5 map-t")
        tenant = {"table_id": _TENANT, "pool_first": _POOL[0], "pool_last": _POOL[1],
                  "address4": "192.0.2.1", "address6": "2001:db8::1", "mtu4": 1500, "mtu6": 1500,
                  "lowest_ipv6_mtu": 1280,
                  "hash_seed": 0x5EED, "idle_timeout": 0, "max_per_64": 0, "tag": "bench"}
        if retval := self.api.fip64_tenant_add_del(is_add=True, tenant=tenant).retval:
            raise WrongState(f"the tenant: {retval}")

    def _interfaces(self, setup: TranslatorSetup) -> None:
        names = setup.interfaces
        for name in names.values():
            self.cli(f"create packet-generator interface {name}")
        if setup.ip6_table:
            self.cli(f"set interface ip6 table {names[6]} {setup.ip6_table}")
            self.cli(f"set interface ip table {names[4]} {setup.ip4_table}")
        number = setup.ip6_interface
        for line in (
            f"set interface state {names[6]} up", f"set interface state {names[4]} up",
            f"set interface ip address {names[6]} fd00:{number}::2/64",
            f"set interface ip address {names[4]} 169.254.{number}.2/24",
            f"set ip neighbor static {names[6]} fd00:{number}::1 02:00:00:00:00:61",
            f"set ip neighbor static {names[4]} 169.254.{number}.1 02:00:00:00:00:41",
        ):
            self.cli(line)
        # Only the routes that its packets need: nat64 and map-t share the default tables.
        six, four = {FIP64: (["::/0"], ["0.0.0.0/0"]), NAT64: (["2001:db8:c::/48"], ["10.0.0.0/8"]),
                     MAPT: (["2001:db8:7::/48"], ["172.16.0.0/12"])}[setup.name]
        for prefix in six:
            self.cli(f"ip route add {prefix} table {setup.ip6_table} via fd00:{number}::1 {names[6]}")
        for prefix in four:
            self.cli(f"ip route add {prefix} table {setup.ip4_table} via 169.254.{number}.1 {names[4]}")
        for interface in self.api.sw_interface_dump():
            self.macs[interface.interface_name] = interface.l2_address.packed

    def add_mappings(self, count: int) -> tuple[float, float]:
        """Map `count` floating IPs; returns bytes of memory for each, resident and on the heap."""
        before = self.resident(), self.heap()
        for first in range(0, count, 1000):
            mappings = [
                {"floating": floating_ip(n), "fixed": fixed_ip(n), "ip6_table_id": _UPLINK,
                 "table_id": _TENANT}
                for n in range(first, min(first + 1000, count))]
            reply = self.api.fip64_mapping_add_del(is_add=True, count=len(mappings), mappings=mappings)
            if reply.retval:
                raise WrongState(f"adding mappings: {reply.retval}")
        after = self.resident(), self.heap()
        return tuple((b - a) / count for a, b in zip(before, after, strict=True))

    # Packets

    def add_stream(self, file: Path, interface: str, limit: int = 0, options: str = "") -> str:
        """Packets of a file over and over; limit 0: each once."""
        self._stream += 1
        name = f"b{self._stream}"
        count = f"limit {limit}" if limit else ""
        self.cli(f"packet-generator new {{ name {name} {count} source {interface} {options} pcap {file} }}")
        return name

    def run_once(self, *streams: str) -> None:
        """Send what is in the streams, once, and wait until all of it is sent."""
        for stream in streams:
            self.cli(f"packet-generator enable-stream {stream}")
        while any("Yes" in line for line in self.cli("show packet-generator").splitlines()):
            time.sleep(0.005)

    def pass_through(self, file: Path, source: str, out: str, captured: Path) -> None:
        """Send each packet of a file once, and write what comes out of `out`."""
        captured.unlink(missing_ok=True)
        stream = self.add_stream(file, source)
        self.cli(f"packet-generator capture {out} pcap {captured} count 10000000")
        self.run_once(stream)
        self.cli(f"packet-generator capture {out} disable")
        self.cli(f"packet-generator delete {stream}")
        sent, got = count_frames(file), count_frames(captured)
        if sent != got:
            raise WrongState(f"of {sent} packets into {source} {got} came out of {out}: "
                             f"{self.cli('show errors')}")

    def clocks(self, stream: str, packets: int) -> Sample:
        """Run a stream for `packets` and return clocks per packet of each node that saw all of them."""
        self.cli(f"packet-generator configure {stream} limit {packets}")
        self.cli("clear runtime")
        self.run_once(stream)
        nodes = {}
        for line in self.cli("show runtime").splitlines():
            columns = line.split()
            with contextlib.suppress(ValueError, IndexError):
                vectors, clocks = int(columns[-5 + 1]), float(columns[-2])
                if vectors >= packets * 0.99:
                    nodes[columns[0]] = clocks
        return Sample(nodes)


    def rate(self, packets: int, *streams: str) -> float:
        """Run streams of `packets` each at once; returns packets a second of all together."""
        for stream in streams:  # start anew
            self.cli(f"packet-generator configure {stream} limit {packets}")
        begun = time.monotonic()
        self.run_once(*streams)
        return packets * len(streams) / (time.monotonic() - begun)


def measure(quick: bool) -> Iterator[Measurement]:
    if reason := lab_vpp.missing():
        raise WrongState(f"nothing measured: {reason}")
    with tempfile.TemporaryDirectory(prefix="f64b-") as directory:
        for number, part in enumerate((_one_core, _two_workers)):
            place = Path(directory) / str(number)
            place.mkdir()
            yield from part(place, quick)


PEERS = {NAT64: "nat64_plugin.so", MAPT: "map_plugin.so"}


def _present() -> list[str]:
    """The translators that this VPP has."""
    installed = lab_vpp.find()
    assert installed is not None
    return [FIP64, *(name for name, plugin in PEERS.items()
                     if any((Path(part) / plugin).exists() for part in installed.plugin_path.split(":")))]


@contextlib.contextmanager
def started(directory: Path, translators: list[str], **options: Any) -> Iterator[Bench]:
    """Start a VPP with these translators in `directory`; it ends with the context."""
    plugins = (*lab_vpp.PLUGINS, "nat_plugin.so", *(PEERS[name] for name in translators if name in PEERS))
    vpp = Vpp(directory / "vpp", heap="6G", plugins=plugins, poll_sleep=0, statseg="256M", **options)
    with vpp, vpp.papi("bench") as api:
        bench = Bench(vpp, api)
        bench.set_up(translators)
        yield bench


def _case(bench: Bench, directory: Path, translators: list[str], flows: Flows, rounds: int,
          packets: int) -> dict[str, Case]:
    """Measure translators with the same flows in turns."""
    streams: dict[tuple[str, int], str] = {}
    cases = {name: Case() for name in translators}
    for name in translators:
        interfaces = SETUPS[name].interfaces
        there, back, captured = (directory / f"{name}-{what}.pcap" for what in ("there", "back", "captured"))
        flows.write(there, name, bench.macs[interfaces[6]])
        bench.pass_through(there, interfaces[6], interfaces[4], captured)
        write_answers(captured, back, bench.macs[interfaces[4]])
        bench.pass_through(back, interfaces[4], interfaces[6], captured)
        for version, file in ((6, there), (4, back)):
            streams[name, version] = bench.add_stream(file, interfaces[version])
        for file in (there, back, captured):
            file.unlink()
    for _round in range(rounds):
        for (name, version), stream in streams.items():
            cases[name].samples[version].append(bench.clocks(stream, packets))
    for stream in streams.values():
        bench.cli(f"packet-generator delete {stream}")
    return cases


def _one_core(directory: Path, quick: bool) -> Iterator[Measurement]:
    clients, floating = (QUICK_CLIENTS, QUICK_FLOATING) if quick else (CLIENTS, FLOATING)
    rounds = 3 if quick else 7
    present = _present()
    with started(directory, present) as bench:
        resident, heap = bench.add_mappings(max(floating))
        yield Measurement(f"memory of VPP per mapping ({max(floating):,} of them), resident", resident,
                          "bytes", peer=f"of it heap: {heap:.0f}")
        yield _binding_memory(bench, directory, max(clients))
        if not quick:
            time.sleep(5)  # a pool that is well filled gets huge pages, some each second
        best: dict[tuple[int, int, int], float] = {}
        for n_clients in clients:
            for n_floating in floating:
                flows = Flows(n_clients, n_floating)
                extremes = n_floating in (min(floating), max(floating))
                wanted = {FIP64: True, NAT64: extremes, MAPT: n_clients == n_floating == 1}
                translators = [name for name in present if wanted[name]]
                packets = FRAMES * max(400, 2 * len(flows) // FRAMES + 1)
                cases = _case(bench, directory, translators, flows, rounds, packets)
                yield from _measurements(cases, n_clients, n_floating, best)
        for version, words in DIRECTIONS.items():
            for n_floating in (min(floating), max(floating)):
                one, most = best[version, 1, n_floating], best[version, max(clients), n_floating]
                yield Measurement(f"{words}, {n_floating:,} floating IPs: {max(clients):,} clients against "
                                  "one", most / one, "times", wanted=3.0)
            most = best[version, max(clients), max(floating)]
            yield Measurement(f"{words}: {max(clients):,} clients and {max(floating):,} floating IPs against "
                              "one each", most / best[version, 1, 1], "times")


def _binding_memory(bench: Bench, directory: Path, clients: int) -> Measurement:
    """Memory that VPP takes while all clients send their first packet."""
    flows = Flows(clients, 1)
    file = directory / "first.pcap"
    flows.write(file, FIP64, bench.macs["pg0"])
    stream = bench.add_stream(file, "pg0")
    before = bench.resident(), bench.heap()
    bench.run_once(stream)
    after = bench.resident(), bench.heap()
    bench.cli(f"packet-generator delete {stream}")
    return Measurement(f"memory of VPP per binding ({clients:,} of them), resident",
                       (after[0] - before[0]) / clients, "bytes",
                       peer=f"of it heap: {(after[1] - before[1]) / clients:.0f}")


def _two_workers(directory: Path, quick: bool) -> Iterator[Measurement]:
    """Packets a second of one worker and of two; the main thread sleeps."""
    if reason := cpus.missing():
        print(f"  two workers: not measured: {reason}", file=sys.stderr)
        return
    installed = lab_vpp.find()
    assert installed is not None
    clients, floating, packets, rounds = (100, 10, 500_000, 2) if quick else (100_000, 10_000, 8_000_000, 5)
    (directory / "cpus").mkdir()
    installed = cpus.with_three_cpus(installed, directory / "cpus")
    with started(directory, [FIP64], workers=2, installed=installed) as bench:
        cpus.spread_workers(bench.vpp.pid)
        bench.add_mappings(floating)
        flows = Flows(clients, floating)
        there, back, captured = (directory / f"{what}.pcap" for what in ("there", "back", "captured"))
        flows.write(there, FIP64, bench.macs["pg0"])
        bench.pass_through(there, "pg0", "pg1", captured)
        write_answers(captured, back, bench.macs["pg1"])
        for version, file, source in ((6, there, "pg0"), (4, back, "pg1")):
            streams = [bench.add_stream(file, source, packets, f"worker {number}") for number in (0, 1)]
            rates: dict[int, list[float]] = {1: [], 2: []}
            for turn in range(rounds):
                rates[1].append(bench.rate(packets, streams[turn % 2]))
                rates[2].append(bench.rate(packets, *streams))
            for stream in streams:
                bench.cli(f"packet-generator delete {stream}")
            one, two = max(rates[1]), max(rates[2])
            yield Measurement(f"{DIRECTIONS[version]}: two workers against one", two / one, "times",
                              wanted=1.8, at_most=False, samples=rates[2],
                              peer=f"whole graph: {one / 1e6:.2f} and {two / 1e6:.2f} million packets/s, "
                                   f"best of {rounds}")


def _measurements(cases: dict[str, Case], clients: int, floating: int,
             best: dict[tuple[int, int, int], float]) -> Iterator[Measurement]:
    for version, words in DIRECTIONS.items():
        values, beside = {}, []
        for name, case in cases.items():
            samples = case.samples[version]
            quietest = min(samples, key=lambda sample: sample.of(name, version))
            values[name] = quietest.of(name, version)
            if name != FIP64:
                beside.append(f"{name} {shown(values[name])} + {shown(quietest.reassembly(version))} for "
                              f"reassembly, whole graph {shown(min(sample.graph() for sample in samples))}")
        best[version, clients, floating] = values[FIP64]
        samples = cases[FIP64].samples[version]
        title = f"{words}, {clients:,} clients, {floating:,} floating IPs"
        yield Measurement(title, values[FIP64], "clocks/packet", wanted=values.get(MAPT),
                          peer="; ".join(beside), samples=[sample.of(FIP64, version) for sample in samples])
        yield Measurement(f"{title}: whole graph", min(sample.graph() for sample in samples), "clocks/packet")
        if NAT64 in values:
            yield Measurement(f"{title}: against nat64", values[FIP64] / values[NAT64], "times", wanted=0.125)
