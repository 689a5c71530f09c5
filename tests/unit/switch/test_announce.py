# SPDX-License-Identifier: Apache-2.0
"""What is announced, how often, and in which order."""

from ipaddress import IPv6Address

from fip64agent.switch.announce import Announcer
from fip64agent.switch.flows.flow import Announcement


def fip(number):
    return Announcement(1, "fa:16:3e:00:00:01", IPv6Address("2001:db8::") + number)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_three_times_a_second_apart_then_no_more():
    clock = Clock()
    announcer = Announcer(None, clock)
    announcer.announce("key", (fip(1),))
    sent = []
    for _ in range(50):
        sent += [clock.now] * len(announcer.next_due(10))
        clock.now += 0.1
    assert len(sent) == 3
    assert [round(time - sent[0]) for time in sent] == [0, 1, 2]


def test_first_ones_go_before_repetitions():
    clock = Clock()
    announcer = Announcer(None, clock)
    announcer.announce(1, (fip(1),))
    assert announcer.next_due(1) == [fip(1)]
    clock.now += 5
    announcer.announce(2, (fip(2),))
    assert announcer.next_due(1) == [fip(2)]
    assert announcer.next_due(1) == [fip(1)]


def test_no_more_than_asked_for():
    announcer = Announcer(None, Clock())
    for number in range(100):
        announcer.announce(number, (fip(number),))
    assert len(announcer.next_due(10)) == 10


def test_what_is_gone_is_not_announced():
    announcer = Announcer(None, Clock())
    announcer.announce(1, (fip(1),))
    announcer.cancel(1)
    assert announcer.next_due(10) == []


def test_a_new_announcement_takes_the_place_of_the_old():
    clock = Clock()
    announcer = Announcer(None, clock)
    announcer.announce(1, (fip(1),))
    announcer.announce(1, (fip(2),))
    assert announcer.next_due(10) == [fip(2)]


def test_all_addresses_of_a_flow_are_announced():
    clock = Clock()
    announcer = Announcer(None, clock)
    announcer.announce(1, (fip(1), fip(2)))
    sent = []
    for _ in range(50):
        sent += announcer.next_due(1)
        clock.now += 0.1
    assert [sent.count(fip(number)) for number in (1, 2)] == [3, 3]
