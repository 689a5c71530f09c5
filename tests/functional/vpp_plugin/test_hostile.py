# SPDX-License-Identifier: Apache-2.0
"""Garbage, other people's clients, and a plugin that was built for another VPP."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import struct
import threading
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from lab import netns
from lab.vpp import PLUGINS, find
from tests.functional.vpp_plugin.control import Control, mapping, tenant, until, write_pcap


class Raw:
    """A client that sends any bytes it likes and reads what comes without looking at it."""

    def __init__(self, vpp, api) -> None:
        self._messages = api.client.messages
        self._numbers = api.client.transport.message_table
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(vpp.api_socket))
        self.send(self._messages["sockclnt_create"].pack({"_vl_msg_id": 15, "name": "raw", "context": 1}))
        reply, _length = self._messages["sockclnt_create_reply"].unpack(self._read(self._length()))
        self.index = reply.index
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _read(self, n: int) -> bytes:
        return self._socket.recv(n, socket.MSG_WAITALL)

    def _length(self) -> int:
        return struct.unpack(">QII", self._read(16))[1]

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(65536):
                pass

    def packed(self, name: str, **fields) -> bytes:
        message = self._messages[name]
        return bytes(message.pack({"_vl_msg_id": self._numbers[f"{name}_{message.crc[2:]}"],
                                   "client_index": self.index, "context": 0x7777, **fields}))

    def send(self, data: bytes) -> None:
        self._socket.sendall(struct.pack(">QII", 0, len(data), 0) + data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(10)
        self._socket.close()

    def samples(self) -> list[bytes]:
        """A good one of each message."""
        one = mapping("2001:db8::a", "10.0.0.1")
        static = {"client": "2001:db8:c::1", "pool_address": "100.64.0.1", "table_id": 1}
        return [
            self.packed("fip64_tenant_add_del", is_add=True, tenant=tenant()),
            self.packed("fip64_mapping_add_del", is_add=True, count=3, mappings=[one] * 3),
            self.packed("fip64_binding_add_del", is_add=True, count=2, bindings=[static] * 2),
            self.packed("fip64_binding_get", cursor=3, cursor_table_id=1, table_id=0xFFFFFFFF),
            self.packed("fip64_tenant_dump"), self.packed("fip64_mapping_dump", table_id=1),
            self.packed("want_fip64_binding_events", enable=True, pid=3),
            self.packed("fip64_plugin_get_version")]


@pytest.fixture
def raw(control):
    raw = Raw(control.vpp, control.api)
    yield raw
    raw.close()


def test_counts_that_lie(control, raw):
    """A message that says it has more items than it brings is dropped whole."""
    assert control.set_tenant() == 0
    honest = raw.packed("fip64_mapping_add_del", is_add=True, count=1,
                        mappings=[mapping("2001:db8::a", "10.0.0.1")])
    at = honest.index(struct.pack(">I", 1), 10)
    for count in (2, 3, 1000, 2**26, 2**27, 2**31, 2**32 - 1):
        raw.send(honest[:at] + struct.pack(">I", count) + honest[at + 4:])
    assert control.api.control_ping().retval == 0
    assert control.mappings() == set()
    raw.send(honest)
    until(lambda: len(control.mappings()) == 1)


def test_ten_thousand_mutations(control, raw):
    """Flipped bytes, cut and stretched messages: VPP runs on, and a good client gets what it asked for."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    good = raw.samples()
    for n in range(10_000):
        data = bytearray(chance.choice(good))
        # Message id and client index stay: whose message it is is VPP's business.
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(6, len(data))] = chance.choice((0, 1, 255, 128, chance.randrange(256)))
        cut = chance.randrange(10)
        if cut == 0:
            data += chance.randbytes(chance.randrange(1, 200))
        elif cut == 1 and len(data) > 60:
            # Never shorter than the fixed part, which VPP reads before it looks at the length.
            data = data[:chance.randrange(60, len(data))]
        raw.send(data)
        if n % 500 == 0:
            assert control.api.control_ping().retval == 0
    # VPP may still be reading what we sent: two clients' messages have no order.
    assert control.vpp.running
    # What got in is consistent, and goes.
    until(lambda: len(control.mappings()) == sum(one.n_mappings for one in control.tenants().values()))
    def empty() -> bool:
        control.remove_everything()
        return not control.tenants() and not control.mappings() and not control.bindings()

    until(empty)


def test_another_client_that_deletes_everything(control):
    """Two clients with the same objects: the second's removal is not an error to the first."""
    assert control.set_tenant() == 0
    with control.vpp.papi("other") as api:
        assert api.fip64_tenant_add_del(is_add=False, tenant={"table_id": 1}).retval == 0
    assert control.del_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1") == -6


def test_a_hundred_and_one_interfaces(make_vpp):
    """Created, put into tables of tenants, and deleted again, while mappings stay."""
    name = f"f64v{os.getpid()}"
    netns.add(name)
    try:
        netns.ip(name, *(f"link add v{n} type veth peer name w{n}" for n in range(101)),
                 *(f"link set v{n} up" for n in range(101)))
        vpp = make_vpp(netns=name)
        with vpp.papi() as api:
            control = Control(vpp, api)
            for n in range(101):
                control.add_table(100 + n)
                reply = api.af_packet_create_v3(host_if_name=f"v{n}", use_random_hw_addr=True, mode=1,
                                                num_rx_queues=1, num_tx_queues=1, rx_frame_size=2048 * 5,
                                                tx_frame_size=2048 * 5, rx_frames_per_block=8,
                                                tx_frames_per_block=8)
                assert reply.retval == 0
                index = reply.sw_if_index
                assert api.sw_interface_set_table(sw_if_index=index, is_ipv6=False,
                                                  vrf_id=100 + n).retval == 0
                assert api.sw_interface_set_flags(sw_if_index=index, flags=1).retval == 0
                assert control.set_tenant(100 + n) == 0
                assert control.set_mapping(f"2001:db8::{n + 1:x}", "10.0.0.1", 100 + n) == 0
            assert len(control.mappings()) == len(control.tenants()) == 101
            for n in range(101):
                assert api.af_packet_delete(host_if_name=f"v{n}").retval == 0
            assert control.set_mapping("2001:db8::1", "10.0.0.2", 100) == 0
            assert len(control.mappings()) == 101
            for n in range(101):
                assert control.del_tenant(100 + n) == 0
                control.del_table(100 + n)
            assert [one.table.table_id for one in api.ip_table_dump() if not one.table.is_ip6] == [0]
    finally:
        netns.delete(name)


def test_a_plugin_for_another_vpp_is_not_loaded(make_vpp, tmp_path):
    """VPP starts without it and says why."""
    installed = find()
    other = tmp_path / "vpp_plugins" / "fip64_plugin.so"
    other.parent.mkdir()
    shutil.copy(installed.plugin, other)
    with_plugin = make_vpp()
    with with_plugin.papi() as api:
        version = api.show_version().version
    data = other.read_bytes()
    # In the registration (an array of 64 bytes), not in the text that the CLI shows.
    place = data.index(version.encode().ljust(64, b"\0"))
    other.write_bytes(data[:place] + b"11.11-x".ljust(64, b"\0") + data[place + 64:])
    vpp = make_vpp(installed=replace(installed, plugin=other))
    assert "fip64" not in vpp.cli("show plugins")
    assert "version mismatch" in vpp.output() + vpp.cli("show logging") + vpp.log.read_text()
    with vpp.papi() as api:
        assert "fip64_plugin_get_version" not in api.client.messages


def test_without_the_plugin(make_vpp):
    vpp = make_vpp(plugins=PLUGINS[1:])
    with vpp.papi() as api:
        assert not [name for name in api.client.messages if "fip64" in name]
        with pytest.raises(AttributeError):
            api.fip64_tenant_dump()


def test_changes_under_traffic(make_vpp):
    """Two streams on a worker while tenants, pools, mappings and bindings come and go."""
    vpp = make_vpp(workers=1)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    clients = [IPv6Address("2001:db8:c::") + n for n in range(1, 500)]
    floating = [IPv6Address("2001:db8::a:0") + n for n in range(8)]
    fixed = [IPv4Address("10.0.0.1") + n for n in range(12)]
    udp = struct.pack(">HHHH", 1000, 2000, 8, 0)

    def four(source: IPv4Address, target: IPv4Address) -> bytes:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + source.packed + target.packed
        total = sum(struct.unpack(">10H", header))
        total = (total & 0xFFFF) + (total >> 16)
        return header[:10] + struct.pack(">H", 0xFFFF - total) + header[12:] + udp

    write_pcap(vpp.directory / "six.pcap", [
        struct.pack(">IHBB", 6 << 28, 8, 17, 64) + client.packed + chance.choice(floating).packed + udp
        for client in clients])
    write_pcap(vpp.directory / "four.pcap", [
        four(chance.choice(fixed), IPv4Address("100.64.0.0") + chance.randrange(300)) for _ in range(500)])
    for family, name in ((6, "six"), (4, "four")):
        vpp.cli(f"packet-generator new {{ name {name} limit -1 rate 3e4 worker 0 node ip{family}-lookup "
                f"pcap {vpp.directory}/{name}.pcap }}", check=True)
    with vpp.papi() as api:
        control = Control(vpp, api)
        control.add_table(6, ip6=True)
        vpp.cli("packet-generator enable-stream", check=True)
        for _ in range(600):
            pool = {"pool_first": "100.64.0.0", "pool_last": str(IPv4Address("100.64.0.0") + chance.choice(
                (0, 3, 99, 255, 65535)))}
            what = chance.randrange(12)
            if what == 0:
                assert control.del_tenant(0) == 0
            elif what <= 3:
                assert control.set_tenant(0, **pool, hash_seed=chance.randrange(3),
                                          max_per_64=chance.choice((0, 0, 20))) == 0
            elif what <= 7:
                control.set_mapping(str(chance.choice(floating)), str(chance.choice(fixed)), 0,
                                    chance.choice((0, 0, 6)))
            elif what == 8:
                control.del_mappings(str(chance.choice(floating)))
            elif what == 9:
                control.set_binding(str(chance.choice(clients)), "100.64.0.3", 0)
            elif what == 10:
                control.del_bindings(str(chance.choice(clients)), table_id=0)
            else:
                control.get_bindings()
        assert vpp.running
        translated = {name: _count(vpp, f"/err/{name}/ok") for name in ("ip6-fip64", "ip4-fip64")}
        assert all(translated.values()), translated
        vpp.cli("packet-generator disable-stream", check=True)
        assert control.del_tenant(0) == 0
        assert control.mappings() == set() and control.bindings() == set()


def _count(vpp, path: str) -> int:
    with vpp.stats() as stats:
        return sum(stats[path])


def test_routes_by_way_of_ours(control):
    """Somebody routes something via a floating and a pool address: no obstacle to removing them."""
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1", ip6_table_id=6) == 0
    routes = ("203.0.113.0/24 table 1 via 100.64.0.7 next-hop-table 1",
              "2001:db8:77::/64 table 6 via 2001:db8::a next-hop-table 6")
    for route in routes:
        control.vpp.cli(f"ip route add {route}", check=True)
    assert "fip64 pool" in control.vpp.cli("show ip fib table 1 203.0.113.0/24")
    assert "fip64 mapping" in control.vpp.cli("show ip6 fib table 6 2001:db8:77::/64")
    assert control.del_tenant() == 0
    assert control.tenants() == {} and control.mappings() == set()
    assert "references" not in control.vpp.cli("show logging")
    for route in routes:
        control.vpp.cli(f"ip route del {route}", check=True)
