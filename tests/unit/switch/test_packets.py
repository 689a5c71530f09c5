# SPDX-License-Identifier: Apache-2.0
"""Ports take turns, what is too much is dropped and counted; and messages that make no sense."""

import dataclasses
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
