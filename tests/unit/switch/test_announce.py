# SPDX-License-Identifier: Apache-2.0
"""What is announced, how often, and in which order."""

from ipaddress import IPv6Address

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import Ether

from fip64agent.switch.announce import Announcer, advertisement
from fip64agent.switch.flows.flow import Announcement


def fip(number):
    return Announcement(1, "fa:16:3e:00:00:01", IPv6Address("2001:db8::") + number)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_packet():
    data = advertisement(fip(5))
    packet = Ether(data)
    assert (packet.src, packet.dst) == ("fa:16:3e:00:00:01", "33:33:00:00:00:01")
    assert (packet[IPv6].src, packet[IPv6].dst, packet[IPv6].hlim) == ("2001:db8::5", "ff02::1", 255)
    assert (packet[ICMPv6ND_NA].R, packet[ICMPv6ND_NA].S, packet[ICMPv6ND_NA].O) == (0, 0, 1)
    assert packet[ICMPv6ND_NA].tgt == "2001:db8::5"
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == "fa:16:3e:00:00:01"
    checksum = packet[ICMPv6ND_NA].cksum
    del packet[ICMPv6ND_NA].cksum
    assert Ether(bytes(packet))[ICMPv6ND_NA].cksum == checksum


def test_three_times_a_second_apart_then_no_more():
    clock = Clock()
    announcer = Announcer(None, clock)
    announcer.announce("key", fip(1))
    sent = []
    for _ in range(50):
        sent += [clock.now] * len(announcer.take(10))
        clock.now += 0.1
    assert len(sent) == 3
    assert [round(time - sent[0]) for time in sent] == [0, 1, 2]


def test_first_ones_go_before_repetitions():
    clock = Clock()
    announcer = Announcer(None, clock)
    announcer.announce(1, fip(1))
    assert announcer.take(1) == [fip(1)]
    clock.now += 5
    announcer.announce(2, fip(2))
    assert announcer.take(1) == [fip(2)]
    assert announcer.take(1) == [fip(1)]


def test_no_more_than_asked_for():
    announcer = Announcer(None, Clock())
    for number in range(100):
        announcer.announce(number, fip(number))
    assert len(announcer.take(10)) == 10


def test_what_is_gone_is_not_announced():
    announcer = Announcer(None, Clock())
    announcer.announce(1, fip(1))
    announcer.cancel(1)
    assert announcer.take(10) == []


def test_a_new_announcement_takes_the_place_of_the_old():
    clock = Clock()
    announcer = Announcer(None, clock)
    announcer.announce(1, fip(1))
    announcer.announce(1, fip(2))
    assert announcer.take(10) == [fip(2)]
