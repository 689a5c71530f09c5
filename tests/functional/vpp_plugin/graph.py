# SPDX-License-Identifier: Apache-2.0
"""The plugin in VPP's graph: packets in on one side, by VPP's packet generator; what comes out on both.

pg0 is an uplink (IPv6 table 16), pg1 the interface of a tenant (IPv4 table 11). Everything else is as the
agent would have it: default routes by static neighbors, a floating IP, a pool.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from lab.vpp import Vpp
from tests.functional.vpp_plugin.control import Control

TENANT, UPLINK = 11, 16
_OTHER = 15  # so that the FIB indices of the two differ: who confuses them goes wrong
FIP, FIXED = "2001:db8:f::5", "10.0.0.5"
CLIENT, CLIENT4 = "2001:db8:c::17", "100.64.0.23"
OWN6, OWN4 = "2001:db8:99::99", "192.0.2.99"
POOL = ("100.64.0.1", "100.64.0.254")
_UPSTREAM_MAC, _VM_MAC = "02:00:00:00:00:61", "02:00:00:00:00:41"


class Graph:
    """Both sides of a VPP with one tenant and one floating IP; after add_client() CLIENT is CLIENT4 there."""

    def __init__(self, vpp: Vpp, control: Control, settle: float = 0.005) -> None:
        self.vpp = vpp
        self.settle = settle
        self.control = control
        self._numbers = itertools.count()
        self._errors_before: Counter[tuple[str, str]] = Counter()
        control.add_table(TENANT)
        control.add_table(_OTHER, ip6=True)
        control.add_table(UPLINK, ip6=True)
        for line in (
            "create packet-generator interface pg0", "create packet-generator interface pg1",
            f"set interface ip6 table pg0 {UPLINK}", f"set interface ip table pg1 {TENANT}",
            "set interface mtu packet 9000 pg0", "set interface mtu packet 9000 pg1",
            "set interface state pg0 up", "set interface state pg1 up",
            "set interface ip address pg0 2001:db8:ffff::2/64", "set interface ip address pg1 169.254.0.2/24",
            f"set ip neighbor static pg0 2001:db8:ffff::1 {_UPSTREAM_MAC}",
            f"set ip neighbor static pg1 169.254.0.1 {_VM_MAC}",
            f"ip route add ::/0 table {UPLINK} via 2001:db8:ffff::1 pg0",
            f"ip route add 0.0.0.0/0 table {TENANT} via 169.254.0.1 pg1",
        ):
            self.cli(line)
        self.macs = {one.interface_name: str(one.l2_address) for one in control.api.sw_interface_dump()}
        self.set_tenant()
        assert control.set_mapping(FIP, FIXED, TENANT, UPLINK) == 0

    def cli(self, command: str) -> str:
        done = self.control.api.cli_inband(cmd=command)
        assert done.retval == 0, f"{command}: {done.reply}"
        return done.reply

    def set_tenant(self, **changes: Any) -> None:
        fields = {"pool_first": POOL[0], "pool_last": POOL[1], "address4": OWN4, "address6": OWN6, **changes}
        assert self.control.set_tenant(TENANT, **fields) == 0

    def add_client(self, client: str = CLIENT, pool_address: str = CLIENT4) -> None:
        assert self.control.set_binding(client, pool_address, TENANT) == 0

    def bindings(self) -> dict[IPv6Address, IPv4Address]:
        return {one.client: one.pool_address for one in self.control.bindings(TENANT)}

    def forget_clients(self) -> None:
        self.control.del_bindings(*map(str, self.bindings()), table_id=TENANT)

    # Packets

    def _frame(self, interface: str, packet: IP | IPv6 | bytes) -> bytes:
        payload = bytes(packet)
        kind = 0x86DD if payload[0] >> 4 == 6 else 0x0800
        return bytes(Ether(dst=self.macs[interface], src="02:00:00:00:00:99", type=kind)) + payload

    def from_client(self, *packets: IP | IPv6 | bytes, **how: Any) -> tuple[list[IP], list[IPv6]]:
        """Packets in on the uplink; returns what came out to the tenant, and what came back."""
        out = self._through("pg0", packets, **how)
        return out["pg1"], out["pg0"]

    def from_vm(self, *packets: IP | IPv6 | bytes, **how: Any) -> tuple[list[IPv6], list[IP]]:
        """Packets in from the tenant; returns what came out on the uplink, and what came back."""
        out = self._through("pg1", packets, **how)
        return out["pg0"], out["pg1"]

    def _through(self, interface: str, packets: Any, options: str = "") -> dict[str, list[Any]]:
        number = next(self._numbers)
        directory = Path(self.vpp.directory)
        captures = {name: directory / f"out{number}-{name}.pcap" for name in ("pg0", "pg1")}
        for name, file in captures.items():
            self.cli(f"packet-generator capture {name} pcap {file} count 100000")
        stream = f"s{number}"
        self.new_stream(stream, interface, packets, len(packets), options)
        self.cli(f"packet-generator enable-stream {stream}")
        self.wait(stream)
        self.cli(f"packet-generator delete {stream}")
        for name in captures:
            self.cli(f"packet-generator capture {name} disable")
        # VPP itself tells multicast groups (from link-local addresses) whenever it likes.
        return {name: [packet for packet in _packets(file) if not packet.src.startswith("fe80:")]
                for name, file in captures.items()}

    def new_stream(self, name: str, interface: str, packets: Any, limit: int, options: str = "") -> None:
        """Packets that will come in on `interface`, over and over until there were `limit`."""
        file = Path(self.vpp.directory) / f"{name}.pcap"
        wrpcap(str(file), [Ether(self._frame(interface, packet)) for packet in packets])
        self.cli(f"packet-generator new {{ name {name} limit {limit} source {interface} {options} "
                 f"pcap {file} }}")

    def wait(self, *names: str) -> None:
        for _attempt in range(200):
            shown = self.cli("show packet-generator")
            if not any(f"{name} " in line and "Yes" in line for line in shown.splitlines() for name in names):
                break
            time.sleep(0.01)
        else:
            raise AssertionError(f"the stream does not end: {shown}")
        time.sleep(self.settle)

    # What VPP counted

    def errors(self) -> Counter[tuple[str, str]]:
        """Counters of our nodes since mark_errors(): (node, counter) -> times."""
        return self._all_errors() - self._errors_before

    def mark_errors(self) -> None:
        self._errors_before = self._all_errors()

    def _all_errors(self) -> Counter[tuple[str, str]]:
        with self.vpp.stats() as stats:
            return Counter({(node, name): _sum(stats[path])
                            for path in stats.ls(["^/err/ip[46]-fip64/"])
                            for (_, _, node, name) in [path.split("/", 3)]})

    def counted(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(packets, bytes) of the floating IP's mapping, to IPv4 and to IPv6."""
        index = next(one.mapping_index for one in self.control.api.fip64_mapping_dump(table_id=TENANT)
                     if str(one.mapping.floating) == FIP)
        with self.vpp.stats() as stats:
            found = []
            for name in ("6to4", "4to6"):
                counter = stats[f"/fip64/mapping/{name}"][:, index]
                found.append((counter.sum_packets(), counter.sum_octets()))
        return found[0], found[1]

    def traced(self, send: Any, node: str = "pg-input") -> str:
        """Call `send` with tracing on; returns the trace."""
        self.cli("clear trace")
        self.cli(f"trace add {node} 50")
        send()
        return self.cli("show trace max 50")


def _packets(file: Path) -> list[Any]:
    return [frame.payload for frame in rdpcap(str(file))] if file.exists() else []


def _sum(counter: Any) -> int:
    return sum(sum(one) if hasattr(one, "__iter__") else one for one in counter)
