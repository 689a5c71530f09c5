# SPDX-License-Identifier: Apache-2.0
"""Garbage, other people's clients, and a plugin that was built for another VPP."""

from __future__ import annotations

import os
import random
import shutil
import struct
from dataclasses import replace

import pytest

from lab import netns
from lab.vpp import PLUGINS, find
from tests.functional.vpp_plugin.control import Control, mapping, tenant


def packed(api, name: str, **fields) -> bytes:
    client = api.client
    message = client.messages[name]
    return bytes(message.pack({
        "_vl_msg_id": client.transport.get_msg_index(f"{name}_{message.crc[2:]}"),
        "client_index": client.transport.socket_index, "context": 0x7777, **fields}))


def samples(api) -> list[bytes]:
    one = mapping("2001:db8::a", "10.0.0.1")
    static = {"client": "2001:db8:c::1", "pool_address": "100.64.0.1", "table_id": 1}
    return [
        packed(api, "fip64_tenant_add_del", is_add=True, tenant=tenant()),
        packed(api, "fip64_mapping_add_del", is_add=True, count=3, mappings=[one] * 3),
        packed(api, "fip64_binding_add_del", is_add=True, count=2, bindings=[static] * 2),
        packed(api, "fip64_binding_get", cursor=3, cursor_table_id=1, table_id=0xFFFFFFFF),
        packed(api, "fip64_tenant_dump"), packed(api, "fip64_mapping_dump", table_id=1),
        packed(api, "want_fip64_binding_events", enable=True, pid=3), packed(api, "fip64_plugin_get_version")]


def test_counts_that_lie(control):
    """A message that says it has more items than it brings is dropped whole."""
    assert control.set_tenant() == 0
    honest = packed(control.api, "fip64_mapping_add_del", is_add=True, count=1,
                    mappings=[mapping("2001:db8::a", "10.0.0.1")])
    at = honest.index(struct.pack(">I", 1), 10)
    with control.vpp.papi("liar") as api:
        for count in (2, 3, 1000, 2**26, 2**27, 2**31, 2**32 - 1):
            api.client.transport.write(honest[:at] + struct.pack(">I", count) + honest[at + 4:])
        assert api.control_ping().retval == 0
    assert control.mappings() == set()


def test_ten_thousand_mutations(control):
    """Flipped bytes, cut and stretched messages: VPP runs on, and a good client gets what it asked for."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with control.vpp.papi("fuzz") as api:
        bases = samples(api)
        socket = api.client.transport.socket
        # Answers are of no interest, but they have to be read away.
        api.client.register_event_callback(lambda *_: None)
        for n in range(10_000):
            data = bytearray(chance.choice(bases))
            # Message id and client index stay: whose message it is is VPP's business.
            for _ in range(chance.randrange(1, 8)):
                data[chance.randrange(6, len(data))] = chance.choice((0, 1, 255, 128, chance.randrange(256)))
            cut = chance.randrange(10)
            if cut == 0:
                data += os.urandom(chance.randrange(1, 200))
            elif cut == 1 and len(data) > 60:
                # Never shorter than the fixed part, which VPP reads before it looks at the length.
                data = data[:chance.randrange(60, len(data))]
            socket.sendall(struct.pack(">QII", 0, len(data), 0) + data)
            if n % 500 == 0:
                assert control.api.control_ping().retval == 0
                while not api.client.transport.q.empty():
                    api.client.transport.q.get()
        assert control.api.control_ping().retval == 0
    assert control.vpp.running
    # What got in is consistent, and goes.
    n_mappings = sum(one.n_mappings for one in control.tenants().values())
    assert len(control.mappings()) == n_mappings
    control.remove_everything()
    assert control.mappings() == set() and control.bindings() == set()


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
            for _ in range(2):
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


def test_workers(make_vpp):
    """Changes while a worker runs: the handlers stop it."""
    vpp = make_vpp(workers=1)
    with vpp.papi() as api:
        control = Control(vpp, api)
        control.add_table(1)
        assert control.set_tenant() == 0
        for _ in range(3):
            many = [mapping(f"2001:db8::{n + 1:x}", f"10.0.{n // 250}.{n % 250 + 1}") for n in range(500)]
            assert control.set_mappings(*many) == [0] * 500
            assert control.del_mappings(*(one["floating"] for one in many)) == [0] * 500
        assert control.set_tenant(hash_seed=3) == 0
        assert control.mappings() == set()
