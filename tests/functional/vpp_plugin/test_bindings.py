# SPDX-License-Identifier: Apache-2.0
"""Bindings that packets make: what counts them, who is told, who goes first, and reading many of them."""

from __future__ import annotations

import itertools
import struct
import threading
import time
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.functional.vpp_plugin.control import Binding, Control, binding, until, write_pcap

MADE, EVICTED, EXPIRED, REMOVED = range(4)
FIP = "2001:db8::a"
_names = itertools.count()


def udp(client: IPv6Address) -> bytes:
    """A UDP packet from a client to FIP. Nobody looks at its checksum."""
    addresses = client.packed + IPv6Address(FIP).packed
    return struct.pack(">IHBB", 6 << 28, 8, 17, 64) + addresses + struct.pack(">HHHH", 1000, 2000, 8, 0xBEEF)


def send(control: Control, first: str, n: int = 1, packets: int | None = None) -> None:
    """Packets from `n` clients (`first` and the following), in turn, by VPP's packet generator."""
    name = f"s{next(_names)}"
    file = control.vpp.directory / f"{name}.pcap"
    frames = [udp(IPv6Address(first) + number) for number in range(n)]
    write_pcap(file, frames)
    control.vpp.cli(f"packet-generator new {{ name {name} limit {packets or n} "
                    f"node ip6-lookup pcap {file} }}", check=True)
    control.vpp.cli(f"packet-generator enable-stream {name}", check=True)
    until(lambda: "Yes" not in control.vpp.cli(f"show packet-generator {name}"), 20)
    control.vpp.cli(f"packet-generator delete {name}", check=True)


def counted(control: Control, table_id: int = 1) -> dict[str, int]:
    index = control.tenants()[table_id].tenant_index
    with control.vpp.stats() as stats:
        return {name: stats[f"/fip64/tenant/{name}"][:, index].sum() for name in (
            "bindings-made", "bindings-evicted", "bindings-expired", "bindings-removed", "bindings-refused")}


@pytest.fixture
def one_tenant(control) -> Control:
    assert control.set_tenant() == 0
    assert control.set_mapping(FIP, "10.0.0.1") == 0
    return control


class Listener:
    """An API client of its own that collects events."""

    def __init__(self, vpp) -> None:
        self._papi = vpp.papi("listener")
        self.api = self._papi.__enter__()
        self.events: list[tuple[int, str, str, int]] = []
        self._lock = threading.Lock()
        self.api.client.register_event_callback(self._heard)
        assert self.api.want_fip64_binding_events(enable=True, pid=4711).retval == 0

    def _heard(self, name: str, event) -> None:
        assert name == "fip64_binding_event" and event.pid == 4711
        with self._lock:
            self.events.append((int(event.what), str(event.binding.client), str(event.binding.pool_address),
                                event.binding.table_id))

    def kinds(self) -> Counter:
        with self._lock:
            return Counter(what for what, *_ in self.events)

    def close(self) -> None:
        self._papi.__exit__(None, None, None)


@pytest.fixture
def listener(one_tenant):
    listener = Listener(one_tenant.vpp)
    yield listener
    listener.close()


def test_packets_make_bindings(one_tenant):
    control = one_tenant
    send(control, "2001:db8:c::1", 100)
    found = control.bindings()
    assert {one.client for one in found} == {IPv6Address("2001:db8:c::1") + n for n in range(100)}
    assert len({one.pool_address for one in found}) == 100 and not any(one.is_static for one in found)
    assert control.tenants()[1].n_bindings == 100
    # Again: nothing is made.
    send(control, "2001:db8:c::1", 100)
    assert control.bindings() == found
    assert counted(control) == {"bindings-made": 100, "bindings-evicted": 0, "bindings-expired": 0,
                                "bindings-removed": 0, "bindings-refused": 0}
    (mapping,) = control.api.fip64_mapping_dump()
    with control.vpp.stats() as stats:
        assert stats["/fip64/mapping/6to4"][:, mapping.mapping_index].sum_packets() == 200
    # Dump and gauge say the same, within a second or so.
    with control.vpp.stats() as stats:
        until(lambda: stats["/fip64/tenant/bindings"][:, control.tenants()[1].tenant_index].sum() == 100)


def test_bindings_are_the_same_after_a_restart_of_the_tenant(one_tenant):
    control = one_tenant
    send(control, "2001:db8:c::1", 50)
    before = control.bindings()
    assert control.del_tenant() == 0
    assert control.set_tenant() == 0 and control.set_mapping(FIP, "10.0.0.1") == 0
    send(control, "2001:db8:c::1", 50)
    after = control.bindings()
    assert len(before & after) >= 45
    assert control.set_tenant(hash_seed=8) == 0
    assert control.bindings() == set()
    send(control, "2001:db8:c::1", 50)
    assert len(before & control.bindings()) < 10


def test_the_least_recently_used_goes_first(one_tenant, listener):
    """MidoNet's case: a pool of two, and a third client."""
    control = one_tenant
    assert control.set_tenant(pool_first="100.64.0.1", pool_last="100.64.0.2") == 0
    for client in ("2001:db8:c::1", "2001:db8:c::2", "2001:db8:c::1", "2001:db8:c::3"):
        send(control, client)
        time.sleep(0.01)
    assert {str(one.client) for one in control.bindings()} == {"2001:db8:c::1", "2001:db8:c::3"}
    until(lambda: len(listener.events) >= 4)
    assert [(what, client) for what, client, _, _ in listener.events] == [
        (MADE, "2001:db8:c::1"), (MADE, "2001:db8:c::2"), (EVICTED, "2001:db8:c::2"), (MADE, "2001:db8:c::3")]
    assert listener.events[1][2] == listener.events[2][2] == listener.events[3][2]
    assert counted(control)["bindings-evicted"] == 1


def test_a_full_pool_of_static_bindings_refuses(one_tenant, listener):
    control = one_tenant
    assert control.set_tenant(pool_first="100.64.0.1", pool_last="100.64.0.1") == 0
    assert control.set_binding("2001:db8:c::9", "100.64.0.1") == 0
    send(control, "2001:db8:c::1", packets=3)
    assert {str(one.client) for one in control.bindings()} == {"2001:db8:c::9"}
    assert counted(control)["bindings-refused"] == 3
    assert listener.events == []


def test_a_static_binding_evicts_a_dynamic_one(one_tenant, listener):
    control = one_tenant
    send(control, "2001:db8:c::1")
    (before,) = control.bindings()
    assert control.set_binding("2001:db8:c::9", str(before.pool_address)) == 0
    assert control.bindings() == {Binding(IPv6Address("2001:db8:c::9"), before.pool_address, 1, True)}
    until(lambda: len(listener.events) >= 2)
    assert listener.events[1] == (EVICTED, "2001:db8:c::1", str(before.pool_address), 1)


def test_idle_bindings_expire(one_tenant, listener):
    control = one_tenant
    send(control, "2001:db8:c::1", 200)
    assert control.set_binding("2001:db8:c:1::9", "100.64.0.9") == 0
    evicted = 1 if counted(control)["bindings-evicted"] else 0
    assert control.set_tenant(idle_timeout=1) == 0
    until(lambda: len(control.bindings()) == 1)
    assert counted(control)["bindings-expired"] == 200 - evicted
    until(lambda: listener.kinds()[EXPIRED] == 200 - evicted)
    assert listener.kinds()[MADE] == 200


def test_removed_by_an_operator(one_tenant, listener):
    control = one_tenant
    send(control, "2001:db8:c::1", 10)
    assert control.set_binding("2001:db8:c:1::9", "100.64.0.9") == 0
    n = len(control.bindings())
    assert control.del_bindings("2001:db8:c::1", "2001:db8:c::ffff", "2001:db8:c:1::9") == [0, 0, 0]
    assert len(control.bindings()) == n - 2
    until(lambda: listener.kinds()[REMOVED] == 1)
    # A new pool: all that is left goes, and is told.
    left = len(control.bindings())
    assert control.set_tenant(hash_seed=99) == 0
    until(lambda: listener.kinds()[REMOVED] == 1 + left)
    assert counted(control)["bindings-removed"] == 1 + left


def test_the_cap_of_a_64(one_tenant):
    control = one_tenant
    assert control.set_tenant(max_per_64=5) == 0
    send(control, "2001:db8:c::1", 50)
    send(control, "2001:db8:d::1", 3)
    networks = Counter(str(one.client)[:10] for one in control.bindings())
    assert networks == {"2001:db8:c": 5, "2001:db8:d": 3}


def test_a_client_that_wants_no_more_events_gets_none(one_tenant, listener):
    control = one_tenant
    assert listener.api.want_fip64_binding_events(enable=False, pid=4711).retval == 0
    assert listener.api.want_fip64_binding_events(enable=False, pid=4711).retval == 0
    send(control, "2001:db8:c::1", 10)
    time.sleep(0.2)
    assert listener.events == []
    # Asking twice is asking once; what happened meanwhile is not told.
    for _ in range(2):
        assert listener.api.want_fip64_binding_events(enable=True, pid=4711).retval == 0
    send(control, "2001:db8:d::1")
    until(lambda: listener.kinds()[MADE] == 1)
    time.sleep(0.1)
    assert listener.kinds()[MADE] == 1


def test_clients_that_go_away_are_forgotten(one_tenant):
    control = one_tenant
    for n in range(20):
        listener = Listener(control.vpp)
        if n % 2:
            listener.close()
        else:
            # Without a word: the process died.
            listener.api.client.transport.socket.shutdown(2)
        send(control, f"2001:db8:c:{n + 1:x}::1", 3)
    until(lambda: "clients of events 0," in control.vpp.cli("show fip64"))
    assert control.tenants()[1].n_bindings == 60


def test_events_beyond_the_queue_are_dropped_and_counted(one_tenant, listener):
    control = one_tenant
    assert control.set_tenant(pool_first="100.64.0.0", pool_last="100.65.255.255") == 0
    with control.vpp.stats() as stats:
        before = [stats["/fip64/events"][:, n].sum() for n in (0, 1)]
    send(control, "2001:db8:c::1", 40_000)
    assert counted(control)["bindings-made"] == 40_000

    def sums() -> list[int]:
        with control.vpp.stats() as stats:
            return [stats["/fip64/events"][:, n].sum() - before[n] for n in (0, 1)]

    until(lambda: sum(sums()) == 40_000, 60)
    sent, dropped = sums()
    assert dropped > 0 and sent > 1000
    until(lambda: listener.kinds()[MADE] == sent, 60)


def test_a_client_that_does_not_read_costs_no_memory(one_tenant):
    """Its events are dropped and counted; VPP answers others as before."""
    control = one_tenant
    assert control.set_tenant(pool_first="100.64.0.0", pool_last="100.65.255.255") == 0
    with control.vpp.papi("unread") as reader:
        # Its reader thread is kept busy, so that nothing is read from the socket.
        wait = threading.Event()
        reader.client.register_event_callback(lambda *_: wait.wait(60))
        assert reader.want_fip64_binding_events(enable=True, pid=1).retval == 0
        before = control.heap_used()
        for n in range(20):
            send(control, f"2001:db8:c:{n + 1:x}::1", 3000)
            time.sleep(0.05)
        assert control.heap_used() - before < 4 << 20
        with control.vpp.stats() as stats:
            assert stats["/fip64/events"][:, 1].sum() > 0
        wait.set()


def test_twenty_thousand_bindings_by_cursor(one_tenant):
    """All of them, each once, no reply with more than 1,024, while others come and go."""
    control = one_tenant
    for table_id in (1, 2):
        assert control.set_tenant(table_id, pool_first="100.64.0.0", pool_last="100.67.255.255") == 0
    first = int(IPv4Address("100.64.0.0"))
    want: set[Binding] = set()
    for table_id in (1, 2):
        for begin in range(0, 10_000, 1000):
            many = [(IPv6Address((0x20010db8 << 96) + n), IPv4Address(first + n * 5)) for n in
                    range(begin + 1, begin + 1001)]
            assert control.set_bindings(
                *(binding(str(client), str(address), table_id) for client, address in many)) == [0] * 1000
            want |= {Binding(client, address, table_id, True) for client, address in many}
    send(control, "2001:db8:c::1", 2000)
    found, calls = control.get_bindings()
    assert len(found) == len(set(found)) == 22_000
    assert want <= set(found)
    assert 22 <= calls <= 25
    assert control.bindings(2) == {one for one in want if one.table_id == 2}
    assert control.bindings(only_static=True) == want
    assert control.bindings(3) == set()


def test_a_cursor_survives_what_it_points_to(one_tenant):
    """The tenant of a cursor is removed, or its pool shrinks, between two calls."""
    control = one_tenant
    assert control.set_tenant(2) == 0
    send(control, "2001:db8:c::1", 200)
    assert control.set_binding("2001:db8:c::9", "100.64.0.9", 2) == 0
    for cursor, cursor_table_id in ((0, 1), (4_000_000, 1), (5, 1), (0xFFFFFFFF, 0), (0, 0xFFFFFFFF),
                                    (0xFFFFFFFF, 0xFFFFFFFF), (100, 77)):
        reply, _details = control.api.fip64_binding_get(
            cursor=cursor, cursor_table_id=cursor_table_id, table_id=0xFFFFFFFF, only_static=False)
        assert reply.retval == 0
    assert control.del_tenant(1) == 0
    reply, details = control.api.fip64_binding_get(
        cursor=50, cursor_table_id=1, table_id=0xFFFFFFFF, only_static=False)
    assert reply.retval == 0 and [one.binding.table_id for one in details] == [2]
