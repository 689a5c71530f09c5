# SPDX-License-Identifier: Apache-2.0
"""Ports take turns, what is too much is dropped and counted; and messages that make no sense."""

import collections
import dataclasses
import functools
import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.exceptions import NotReady
from fip64agent.net.packet import parse
from fip64agent.plan.desired import NOTHING, Desired, Gateway
from fip64agent.services.base import Outgoing, Service
from fip64agent.switch import packets, pipeline
from fip64agent.switch.connection import meters, packet_in
from fip64agent.switch.connection.app import Reply
from fip64agent.switch.connection.fields import CodecError
from fip64agent.switch.connection.packet_in import PacketIn
from fip64agent.switch.features import features
from lab.solicit import solicitation

# isort: split
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

ARP = features()["arp"].number
COOKIE = pipeline.encode_cookie(ARP, ("gateway", "vm"))


def message(in_port, data, cookie=COOKIE, before=b"", after=b""):
    match = before + struct.pack("!II", 0x80000004, in_port) + after
    length = 4 + len(match)
    body = struct.pack("!IHBBQHH", 0xFFFFFFFF, len(data), 1, 0, cookie, 1, length) + match
    body += bytes(-length % 8) + bytes(2) + data
    return struct.pack("!BBHI", 4, 10, 8 + len(body), 0) + body


OTHERS = (b"", struct.pack("!IQ", 0x80000408, 5), struct.pack("!II", 0x00010004, 7))
"""Fields that a match may have beside the port: none, metadata, reg0."""


@given(st.integers(1, 0xFEFF), st.binary(max_size=100), st.integers(0, 2 ** 64 - 1),
       st.sampled_from(OTHERS), st.sampled_from(OTHERS), st.integers(0, 0xFFFFFFFF))
def test_a_packet_in_is_read_where_it_lies(in_port, data, cookie, before, after, reason):
    assert packet_in.decode(message(in_port, data, cookie, before, after)) == PacketIn(cookie, in_port, data)
    reg4 = struct.pack("!II", 0x00010804, reason)
    expected = PacketIn(cookie, in_port, data, reason)
    assert packet_in.decode(message(in_port, data, cookie, before + reg4, after)) == expected
    assert packet_in.decode(message(in_port, data, cookie, before, after + reg4)) == expected


def packet_out_of_os_ken(data, *ofports):
    datapath = ProtocolDesc(ofp.OFP_VERSION)
    made = parser.OFPPacketOut(datapath, ofp.OFP_NO_BUFFER, ofp.OFPP_CONTROLLER,
                               [parser.OFPActionOutput(ofport, 0) for ofport in ofports], data)
    made.set_xid(0)
    made.serialize()
    return bytes(made.buf)


def messages_in(data):
    while data:
        size = struct.unpack_from("!H", data, 2)[0]
        yield data[:size]
        data = data[size:]


@given(st.lists(st.integers(1, 0xFEFF), max_size=50).map(tuple), st.binary(max_size=200))
def test_a_packet_out_is_what_os_ken_makes(ofports, data):
    assert packet_in.packet_out(ofports, data) == (packet_out_of_os_ken(data, *ofports) if ofports else b"")


def test_a_packet_to_very_many_ports_is_several_messages():
    """As many as fit: an OpenFlow message has at most 65,535 bytes."""
    data, ofports = bytes(1500), tuple(range(1, 10_001))
    made = list(messages_in(packet_in.packet_out(ofports, data)))
    assert made == [packet_out_of_os_ken(data, *ofports[start:start + 4000])
                    for start in range(0, 10_000, 4000)]
    assert 0xFFFF - 16 < len(made[0]) <= 0xFFFF
    assert len(packet_in.packet_out((1,), bytes(0xFFFF - 40))) == 0xFFFF
    with pytest.raises(ValueError, match="does not fit into an OpenFlow message"):
        packet_in.packet_out((1,), bytes(0xFFFF - 39))


@given(st.binary(max_size=100), st.integers(0, 400), st.integers(0, 255))
def test_damaged_messages_are_one_exception(data, position, value):
    damaged = bytearray(message(5, solicitation(1)))
    damaged[position % len(damaged)] = value
    for some in (data, damaged[:position], bytes(damaged)):
        try:
            packet_in.decode(bytes(some))
        except CodecError as error:
            assert str(error)


@given(st.binary(max_size=100))
def test_arbitrary_meters_are_meters_or_one_exception(body):
    try:
        for item in meters.decode(body):
            assert pipeline.is_our_meter(item.number)
    except CodecError as error:
        assert str(error)


def test_a_refused_question_for_meters_is_not_taken_for_no_meters():
    """They would be added again, which Open vSwitch refuses."""
    class Refusing:
        def request(self, build):
            (message,) = build(7)
            reply = Reply(7, 7)
            reply.take(1, 7, message[:8] + struct.pack("!HH", 1, 5))  # OFPET_BAD_REQUEST, OFPBRC_EPERM
            return reply

    with pytest.raises(NotReady, match=r"refused to list its meters: .*EPERM"):
        meters.Meters(Refusing()).read()


def vm(number, mac="fa:16:3e:00:00:01"):
    return Gateway(f"vm-{number}", IPv4Address("10.0.0.1"), mac, number, mac, answers=True, isolates=True)


def plan(*gateways):
    return Desired.of_objects(gateways)


@pytest.fixture
def handled():
    return []


@pytest.fixture
def ins(monkeypatch, handled):
    """With a service for the ARP feature, as there is none of ours; never started: the test takes turns."""

    def handle(packet, gateway):
        handled.append((packet, gateway))
        if gateway.mac == "bad":
            raise RuntimeError("a fault")
        return [Outgoing(b"answer"), Outgoing(b"told", (9, 7)), Outgoing(b"nobody", ())]

    service = Service("arp", "gateway", lambda gateway: (gateway.vm_ofport,), handle)
    monkeypatch.setattr(packets, "services", lambda: {"arp": service})
    made = packets.PacketIns(lambda data: None)
    made.plan_changed(NOTHING, plan(vm(1), vm(2)))
    return made


def run(ins):
    while ins._queues:
        yield ins._handle(ins._next())


def test_ports_take_turns(ins, handled):
    for _ in range(5):
        ins.take(message(1, solicitation(1)))
    for _ in range(2):
        ins.take(message(2, solicitation(2)))
    list(run(ins))
    assert [gateway.vm_ofport for _, gateway in handled] == [1, 2, 1, 2, 1, 1, 1]
    assert handled[0][0] == parse(solicitation(1))


def test_what_is_too_much_for_a_queue_is_that_ports_own_loss(ins):
    for _ in range(packets.MOST_WAITING + 10):
        ins.take(message(1, solicitation(1)))
    ins.take(message(2, solicitation(1)))
    list(run(ins))
    assert ins.counters() == {(1, "handled"): packets.MOST_WAITING, (1, "queue-full"): 10, (2, "handled"): 1}


def test_answers_go_where_they_should(ins):
    ins.take(message(2, solicitation(1)))
    assert [b"".join(out) for out in run(ins)] == [packet_out_of_os_ken(b"answer", 2)
                                                   + packet_out_of_os_ken(b"told", 9, 7)]


def test_a_service_may_know_how_a_packet_arrived(monkeypatch):
    """By which port, with which reason, and as which bytes: an ICMPv6 error quotes them."""
    def handle(packet, gateway, arrival):
        return [Outgoing(f"{gateway.port_id} {arrival.ofport} {arrival.reason}".encode() + arrival.data)]

    service = Service("arp", "gateway", lambda gateway: (gateway.vm_ofport,), handle, takes_arrival=True)
    monkeypatch.setattr(packets, "services", lambda: {"arp": service})
    ins = packets.PacketIns(lambda data: None)
    ins.plan_changed(NOTHING, plan(vm(1), vm(2)))
    for port, fields in ((2, struct.pack("!II", 0x00010804, 5)), (1, b"")):
        ins.take(message(port, solicitation(1), after=fields))
    assert list(run(ins)) == [[packet_in.packet_out((2,), b"vm-2 2 5" + solicitation(1))],
                              [packet_in.packet_out((1,), b"vm-1 1 0" + solicitation(1))]]


def test_an_answer_that_is_too_long_is_a_fault_of_the_service(monkeypatch):
    service = Service("arp", "gateway", lambda gateway: (gateway.vm_ofport,),
                      lambda packet, gateway: [Outgoing(bytes(0xFFFF))])
    monkeypatch.setattr(packets, "services", lambda: {"arp": service})
    ins = packets.PacketIns(lambda data: None)
    ins.plan_changed(NOTHING, plan(vm(1)))
    ins.take(message(1, solicitation(1)))
    assert list(run(ins)) == [[]] and ins.counters() == {(1, "failed"): 1}


def test_what_cannot_be_handled_is_counted(ins, caplog):
    bad = dataclasses.replace(vm(3), mac="bad")
    ins.plan_changed(plan(vm(1), vm(2)), plan(vm(1), bad))
    ins.take(b"\4\12\0\10\0\0\0\0")
    ins.take(message(1, b"short"))
    ins.take(message(2, solicitation(1)))  # not in the plan any more
    ins.take(message(1, solicitation(1), cookie=0xABC))
    ins.take(message(1, solicitation(1), cookie=COOKIE + (1 << 40)))
    for _ in range(3):
        ins.take(message(3, solicitation(1)))
    list(run(ins))
    assert ins.counters() == {(0, "unparsable"): 1, (1, "unparsable"): 1, (2, "unknown-port"): 1,
                              (1, "no-service"): 2, (3, "failed"): 3}
    assert len(caplog.records) == 1 and "RuntimeError" in caplog.text


def test_the_newest_object_of_a_port_is_what_a_handler_gets(ins, handled):
    """Two objects exchange their ports: whatever comes first in the list of changes."""
    one, two = dataclasses.replace(vm(1), vm_ofport=2), dataclasses.replace(vm(2), vm_ofport=1)
    ins.plan_changed(plan(vm(1), vm(2)), plan(one, two))
    for port in (1, 2):
        ins.take(message(port, solicitation(1)))
    list(run(ins))
    assert [gateway.port_id for _, gateway in handled] == ["vm-2", "vm-1"]


def test_two_objects_with_one_port(ins, handled, caplog):
    """A service must not have them. One gets the packets until it goes; the other one is reported."""
    one, other = (dataclasses.replace(vm(1), address=IPv4Address(f"10.0.0.{number}")) for number in (1, 9))
    third = dataclasses.replace(one, address=IPv4Address("10.0.0.10"))

    def gets():
        handled.clear()
        ins.take(message(1, solicitation(1)))
        list(run(ins))
        return handled[0][1] if handled else None

    ins.plan_changed(plan(vm(1), vm(2)), plan(one, other, third))
    ins.plan_changed(plan(one, other, third), plan(one, other, third, vm(2)))
    first = gets()
    assert first in (one, other, third)
    rest = [each for each in (one, other, third) if each != first]
    assert len(ins.warnings()) == 2 and len(caplog.records) == 2
    assert f"gateway:vm-1:{rest[0].address} gets no packets" in "".join(ins.warnings())
    ins.plan_changed(plan(one, other, third), plan(*rest))
    second = gets()
    assert second in rest and len(ins.warnings()) == 1
    ins.plan_changed(plan(*rest), plan(second))
    assert gets() == second and ins.warnings() == []
    ins.plan_changed(plan(second), NOTHING)
    assert gets() is None


def test_a_service_that_cannot_tell_the_ports_of_an_object_harms_nobody(monkeypatch, caplog):
    """Not its other objects, and no other service."""
    handled = []

    def ports(gateway):
        yield gateway.vm_ofport
        if gateway.mac == "bad":
            raise RuntimeError("a fault")

    made = {"arp": Service("arp", "gateway", ports, lambda packet, gateway: handled.append(gateway) or ()),
            "redirect": Service("redirect", "gateway", lambda gateway: (gateway.vm_ofport,),
                                lambda packet, gateway: handled.append(gateway) or ())}
    monkeypatch.setattr(packets, "services", lambda: made)
    ins = packets.PacketIns(lambda data: None)
    bad = dataclasses.replace(vm(1), mac="bad")
    ins.plan_changed(NOTHING, plan(bad, vm(2)))
    redirect = pipeline.encode_cookie(features()["redirect"].number, ("gateway", "vm"))
    for port, cookie in ((1, COOKIE), (2, COOKIE), (1, redirect), (2, redirect)):
        ins.take(message(port, solicitation(1), cookie))
    list(run(ins))
    assert sorted(gateway.port_id for gateway in handled) == ["vm-1", "vm-2", "vm-2"]
    assert ins.counters() == {(0, "failed"): 1, (1, "unknown-port"): 1, (1, "handled"): 1, (2, "handled"): 2}
    assert "RuntimeError for gateway:vm-1:10.0.0.1" in caplog.text
    ins.plan_changed(plan(bad, vm(2)), plan(vm(1), vm(2)))  # it is right again
    ins.take(message(1, solicitation(1)))
    list(run(ins))
    assert handled[-1] == vm(1)


class Simulation:
    """Ports that send at a rate, to services that take a time for each; time passes only here."""

    def __init__(self, monkeypatch, costs, quick=0.00004, per_second=200):
        """`costs`: seconds by port. `quick`: those of port 99, which sends to the other service as well."""
        self.now, self.begun, self.used = 0.0, {}, collections.Counter()
        self.costs, self.quick, self.interval = costs, quick, 1 / per_second
        self.waited = {feature: [] for feature in ("arp", "redirect")}
        """Of port 99's packets, until the answer, by service."""
        monkeypatch.setattr(packets, "time", self)
        made = {feature: Service(feature, "gateway", lambda gateway: (gateway.vm_ofport,),
                                 functools.partial(self.handle, feature)) for feature in self.waited}
        monkeypatch.setattr(packets, "services", lambda: made)
        self.ins = packets.PacketIns(lambda data: None)
        self.ins.plan_changed(NOTHING, plan(vm(99), *map(vm, costs)))

    def monotonic(self):
        return self.now

    thread_time = monotonic

    def handle(self, feature, packet, gateway):
        cost = self.costs.get(gateway.vm_ofport, self.quick)
        self.now += cost
        self.used[gateway.vm_ofport] += cost
        if gateway.vm_ofport == 99:
            begun = self.begun[feature].popleft()
            if begun >= 1:  # before, nobody can know what will take long
                self.waited[feature].append(self.now - begun)
        return ()

    def run(self, seconds):
        arp, redirect = (pipeline.encode_cookie(features()[name].number, ("gateway", "vm"))
                         for name in ("arp", "redirect"))
        next_packets = 0.0
        while self.now < seconds:
            while next_packets <= self.now:
                for port in self.costs:
                    self.ins.take(message(port, solicitation(1), arp))
                for feature, cookie in (("arp", arp), ("redirect", redirect)):
                    self.begun.setdefault(feature, collections.deque()).append(next_packets)
                    self.ins.take(message(99, solicitation(1), cookie))
                next_packets += self.interval
            if self.ins._queues:
                self.ins._handle(self.ins._next())
            else:
                self.now = next_packets
        return self


def p99(values):
    return sorted(values)[len(values) * 99 // 100]


@pytest.mark.parametrize(("cost", "per_second", "seconds", "most"), [
    (0.030, 40, 60, 0.02), (0.009, 40, 60, 0.02), (0.0045, 100, 20, 0.12), (0.002, 100, 20, 0.15),
    (0.0005, 300, 10, 0.2)])
def test_what_a_service_may_take_is_for_all_ports_together(monkeypatch, cost, per_second, seconds, most):
    """Of ten VMs. Without a limit it would be all of the time, or more."""
    seen = Simulation(monkeypatch, dict.fromkeys(range(1, 11), cost), per_second=per_second).run(seconds)
    used = [seen.used[port] for port in seen.costs]
    assert 0.009 * seconds < sum(used) < most * seconds
    assert max(used) - min(used) <= max(2 * cost, 0.1 * max(used))  # each has the same part
    for waited in seen.waited.values():
        assert len(waited) > 0.98 * per_second * (seconds - 1) and p99(waited) < 0.010
    counted = seen.ins.counters()
    assert not any(counted.get((99, reason)) for reason in (packets.SUSPENDED, packets.QUEUE_FULL))


def test_a_service_as_quick_as_it_should_be_has_no_limit(monkeypatch):
    seen = Simulation(monkeypatch, {1: 0.00015}, quick=0.00001, per_second=5000).run(2)
    assert seen.ins.counters()[1, packets.HANDLED] >= 9_990 and not seen.ins._debts


def test_a_single_packet_that_took_long_is_soon_forgiven(monkeypatch):
    """It may be Python's garbage collector that took so long."""
    costs = {1: 0.1}
    seen = Simulation(monkeypatch, costs)
    seen.run(0.05)
    costs[1] = 0.0001
    before = seen.ins.counters()[1, packets.SLOW]
    seen.run(3)
    assert before == 1 and seen.ins.counters()[1, packets.HANDLED] > 350  # of 400 in the last 2 seconds


def test_services_take_turns(monkeypatch):
    """A port that many others do not let through, of a service that is not theirs, waits for one of them."""
    seen = Simulation(monkeypatch, dict.fromkeys(range(1, 90), 0.0019)).run(2)
    assert max(seen.waited["redirect"]) < 0.0045


def test_ports_that_are_gone_are_forgotten(ins):
    def count(*ports):
        for port in ports:
            ins.take(message(port, solicitation(1)))
        list(run(ins))
        return {port: number for (port, _), number in ins.counters().items()}

    ins.ports_changed({1: "tap1", 2: "tap2"})
    ins.take(b"no message")
    assert count(1, 2, 5) == {0: 1, 1: 1, 2: 1, 5: 1}
    ins.ports_changed({1: "tap1", 2: "tap2", 3: "tap3"})
    assert count(1, 2) == {0: 1, 1: 2, 2: 2}  # 5 was never there
    ins.ports_changed({1: "tap1", 2: "of another VM", 3: "tap3"})
    assert count(1, 2, 3) == {0: 1, 1: 3, 2: 1, 3: 1}
    ins.ports_changed({})
    assert count() == {0: 1}


def test_a_port_of_another_vm_is_not_suspended_for_the_one_before(monkeypatch):
    costs = {1: 1.0}
    seen = Simulation(monkeypatch, costs)
    seen.ins.ports_changed({1: "tap1"})
    seen.run(1)
    seen.ins.ports_changed({1: "of another VM"})
    costs[1] = 0.0001
    seen.run(2)
    assert seen.ins.counters()[1, packets.HANDLED] > 190 and (1, packets.SUSPENDED) not in seen.ins.counters()


def test_a_service_for_a_feature_that_does_not_exist(monkeypatch):
    service = Service("nonsense", "gateway", lambda gateway: (), lambda packet, gateway: ())
    monkeypatch.setattr(packets, "services", lambda: {"nonsense": service})
    with pytest.raises(ValueError, match="flow feature nonsense, which does not exist"):
        packets.PacketIns(lambda data: None)


def test_answers_that_cannot_be_sent_stop_nothing(ins):
    from fip64agent import hub

    sent = []

    def send(data):
        sent.append(data)
        raise NotReady("the connection was lost") if len(sent) == 1 else OSError("something else")

    ins._send = send
    ins.start()
    try:
        for _ in range(3):
            ins.take(message(1, solicitation(1)))
            hub.sleep(0.05)
    finally:
        ins.close()
    assert len(sent) == 3
