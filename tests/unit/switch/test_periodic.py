# SPDX-License-Identifier: Apache-2.0
"""When objects send without being asked: with a clock and random numbers that the test decides."""

import dataclasses
import random
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import NOTHING, Desired, Gateway
from fip64agent.services.base import Event, Occasion, Outgoing, Service, Turn
from fip64agent.switch import periodic
from fip64agent.switch.connection.packet_in import packet_out

PAUSE = 3.0
INTERVAL = (200.0, 600.0)


def vm(number, mac="fa:16:3e:00:00:01", ofport=None):
    return Gateway(f"vm-{number}", IPv4Address("10.0.0.1"), mac, ofport or number, mac, answers=True,
                   isolates=True)


def plan(*gateways):
    return Desired.of_objects(gateways)


def words(gateway, occasion):
    return f"{gateway.port_id} {gateway.mac} {occasion.event.value} {occasion.number}"


def advertise(gateway, occasion):
    """Like Router Advertisements: what is sent depends on the MAC; its ports are no reason to send."""
    if occasion.event is Event.CHANGED and occasion.old.mac == gateway.mac:
        return None
    if gateway.mac == "bad":
        raise RuntimeError("a fault")
    if gateway.mac == "nowhere":
        return Turn((Outgoing(b"where?"),))
    low, high = INTERVAL if occasion.number >= 2 else (5.0, 16.0)
    return Turn((Outgoing(words(gateway, occasion).encode(), (gateway.vm_ofport,)),), (low, high))


class Bench:
    """A sender, its clock, and what it has sent as (time, text, ports)."""

    def __init__(self, monkeypatch, function=advertise, choose=lambda low, high: low):
        service = Service("arp", "gateway", lambda gateway: (), lambda packet, gateway: (),
                          unsolicited=function, shortest_pause=PAUSE)
        monkeypatch.setattr(periodic, "services", lambda: {"arp": service})
        self.now = 1000.0
        self.sent = []
        self.down = False
        self.during = None
        """Called while something is being sent."""
        self.plan = NOTHING
        self.sender = periodic.Sender(self.take, lambda: self.now, choose)

    def take(self, data):
        if self.during:
            during, self.during = self.during, None
            during()
        if self.down:
            raise NotReady("the connection was lost")
        port = int.from_bytes(data[28:32])
        text = data[40:]
        assert data == packet_out((port,), text)
        self.sent.append((self.now, text.decode(), port))

    def use(self, *gateways):
        after = plan(*gateways)
        self.sender.plan_changed(self.plan, after)
        self.plan = after

    def run(self, seconds=0.0):
        """Let the time pass, as the greenthread does; return what is sent meanwhile as (seconds, text)."""
        begun, until = self.now, self.now + seconds
        first = len(self.sent)
        while (wait := self.sender.take_turns()) is not None and self.now + wait <= until:
            self.now += wait
        self.now = until
        return [(time - begun, text) for time, text, _ in self.sent[first:]]


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


A = "fa:16:3e:00:00:01"
B = "fa:16:3e:00:00:02"


def test_an_object_sends_at_once_then_soon_then_at_its_intervals(bench):
    bench.use(vm(1))
    assert bench.run() == [(0, f"vm-1 {A} appeared 0")]
    assert bench.run(500) == [(5, f"vm-1 {A} due 1"), (10, f"vm-1 {A} due 2"), (210, f"vm-1 {A} due 3"),
                              (410, f"vm-1 {A} due 4")]
    assert {port for _, _, port in bench.sent} == {1}


def test_intervals_are_random_between_both_ends(monkeypatch):
    asked = []

    def choose(low, high):
        asked.append((low, high))
        return high

    bench = Bench(monkeypatch, choose=choose)
    bench.use(vm(1))
    assert [time for time, _ in bench.run(1300)] == [0, 16, 32, 632, 1232]
    assert asked == [(5, 16), (5, 16), INTERVAL, INTERVAL, INTERVAL]


def test_a_change_is_sent_at_once_and_begins_anew(bench):
    bench.use(vm(1), vm(2))
    bench.run(100)
    bench.use(vm(1, B), vm(2))
    assert bench.run(11) == [(0, f"vm-1 {B} changed 0"), (5, f"vm-1 {B} due 1"), (10, f"vm-1 {B} due 2")]


def test_a_change_shortly_after_a_turn_waits(bench):
    """Several changes meanwhile are one, and the service is told what it was when it sent last."""
    bench.use(vm(1))
    bench.run(1)
    for mac in (B, "fa:16:3e:00:00:03"):
        bench.use(vm(1, mac))
        assert bench.run(0.5) == []
    assert bench.run(2) == [(1, "vm-1 fa:16:3e:00:00:03 changed 0")]
    bench.use(vm(1, B))
    bench.use(vm(1, "fa:16:3e:00:00:03"))  # and back again: nothing to tell
    assert bench.run(3) == []


def test_a_change_that_does_not_matter_leaves_the_times_as_they_were(bench):
    bench.use(vm(1))
    bench.run(209)
    bench.use(vm(1, ofport=9))
    assert bench.run(1) == [(1, f"vm-1 {A} due 3")]
    assert bench.sent[-1][2] == 9
    assert bench.run(200) == [(200, f"vm-1 {A} due 4")]


def test_an_object_that_goes_has_a_last_turn(bench):
    bench.use(vm(1), vm(2))
    bench.run(100)
    bench.use(vm(2))
    assert bench.run(1000)[0] == (0, f"vm-1 {A} gone 0")
    assert [text for _, text, _ in bench.sent if text.startswith("vm-1")][-1].endswith("gone 0")
    bench.use()
    assert bench.run(1000) == [(0, f"vm-2 {A} gone 0")]
    assert bench.sender.take_turns() is None and not bench.sender._sending


def test_one_that_goes_shortly_after_a_turn_and_comes_back(bench):
    bench.use(vm(1))
    bench.run(1)
    bench.use()
    assert bench.run(1) == []
    bench.use(vm(1, B))
    assert bench.run(2) == [(1, f"vm-1 {B} changed 0")]
    bench.use()
    assert bench.run(10) == [(2, f"vm-1 {B} gone 0")]


def test_one_that_is_gone_before_its_first_turn_says_nothing(bench):
    bench.use(vm(1))
    bench.use()
    assert bench.run(1000) == [] and not bench.sender._sending


def test_while_the_switch_is_not_connected_turns_wait(bench):
    bench.use(vm(1), vm(2))
    bench.down = True
    for _ in range(3):
        with pytest.raises(NotReady):
            bench.sender.take_turns()
        bench.now += 100
    bench.use(vm(1))  # never told: nobody is to hear that it is gone
    bench.down = False
    assert bench.run() == [(0, f"vm-1 {A} appeared 0")]


def test_a_last_turn_comes_while_it_means_something(bench):
    """Later its ports may be those of others."""
    bench.use(vm(1), vm(2))
    bench.run(100)
    bench.down = True
    bench.use(vm(2))
    with pytest.raises(NotReady):
        bench.sender.take_turns()
    bench.now += periodic.LATEST_GONE
    bench.down = False
    assert (0, f"vm-1 {A} gone 0") in bench.run()
    bench.down = True
    bench.use()
    bench.now += periodic.LATEST_GONE + 0.1
    assert bench.run(1000) == [] and not bench.sender._sending


def test_what_changes_while_something_is_sent_is_not_lost(bench):
    """Sending may wait, and other greenthreads of the agent go on."""
    bench.during = lambda: bench.use(vm(1, B))
    bench.use(vm(1))
    assert bench.run(4) == [(0, f"vm-1 {A} appeared 0"), (3, f"vm-1 {B} changed 0")]
    bench.now += 100
    bench.during = lambda: bench.use(vm(1))
    bench.use()
    assert bench.run(4) == [(0, f"vm-1 {B} gone 0"), (3, f"vm-1 {A} appeared 0")]
    bench.now += 100
    bench.during = bench.use
    bench.use(vm(1, B))
    assert bench.run(10) == [(0, f"vm-1 {B} changed 0"), (3, f"vm-1 {B} gone 0")]
    bench.during, bench.down = bench.use, True
    bench.use(vm(1))
    with pytest.raises(NotReady):
        bench.sender.take_turns()
    bench.down = False
    assert bench.run(1000) == [] and not bench.sender._sending


def test_a_failure_to_send_loses_no_turn(bench):
    def fail():
        raise OSError("something else")

    bench.during = fail
    bench.use(vm(1))
    with pytest.raises(OSError, match="something else"):
        bench.sender.take_turns()
    assert bench.run() == [(0, f"vm-1 {A} appeared 0")]


def test_a_service_that_fails_harms_no_other_object(bench, caplog):
    bench.use(vm(1, "bad"), vm(2), vm(3, "nowhere"))
    assert bench.run() == [(0, f"vm-2 {A} appeared 0")]
    assert len(caplog.records) == 1 and "flow feature arp failed when object gateway vm-1" in caplog.text
    bench.run(periodic.FAULT_PAUSE + 1)
    assert len(caplog.records) == 2
    bench.use(vm(2))
    bench.run(1)
    assert len(bench.sender._sending) == 1


def test_an_interval_that_makes_no_sense_is_a_fault(monkeypatch, caplog):
    bench = Bench(monkeypatch, lambda gateway, occasion: Turn(interval=("soon", 1)),
                  choose=lambda low, high: low + high)
    bench.use(vm(1))
    assert bench.run(10) == [] and "TypeError" in caplog.text


def test_no_interval_is_shorter_than_the_pause(monkeypatch):
    bench = Bench(monkeypatch, lambda gateway, occasion: Turn(
        (Outgoing(words(gateway, occasion).encode(), (1,)),), (0, 0)))
    bench.use(vm(1))
    assert [time for time, _ in bench.run(10)] == [0, 3, 6, 9]


def test_without_an_interval_only_changes_are_told(monkeypatch):
    bench = Bench(monkeypatch, lambda gateway, occasion: Turn(
        (Outgoing(words(gateway, occasion).encode(), (1,)),)))
    bench.use(vm(1))
    assert len(bench.run(10_000)) == 1
    bench.use(vm(1, B))
    assert bench.run(10_000) == [(0, f"vm-1 {B} changed 0")]
    assert bench.sender.take_turns() is None


def test_all_that_appear_at_once_are_paced(bench):
    bench.use(*(vm(number) for number in range(1, 101)))
    assert bench.sender.take_turns(10) == 0 and len(bench.sent) == 10
    bench.run()
    assert len(bench.sent) == 100


def test_a_thousand_objects_cost_nothing_between_their_turns(monkeypatch):
    """In an hour nothing runs more often than something is sent."""
    bench = Bench(monkeypatch, choose=random.Random(9).uniform)
    bench.use(*(vm(number) for number in range(1, 1001)))
    bench.run(100)
    runs, take_turns = [], bench.sender.take_turns

    def counted():
        runs.append(bench.now)
        return take_turns()

    bench.sender.take_turns = counted
    sent = bench.run(3600)
    assert 1000 * 3600 / 600 <= len(sent) <= 1000 * (3600 / 200 + 1)
    assert len(runs) <= len(sent) + 2
    assert len(bench.sender._turns) == 1000


def test_many_changes_do_not_pile_up(bench):
    """A change leaves an entry in the heap that is passed over; there are not many of them ever."""
    for number in range(3000):
        bench.use(vm(1, f"mac-{number}"), vm(2))
        bench.run(4)
    assert len(bench.sender._turns) <= 2 * 2 + 100


ACTIONS = st.lists(st.one_of(
    st.tuples(st.just("use"), st.integers(1, 3), st.sampled_from([None, A, B])),
    st.tuples(st.just("run"), st.floats(0, 700), st.none()),
    st.tuples(st.just("down"), st.booleans(), st.none())), max_size=40)


@given(ACTIONS, st.randoms(use_true_random=False))
def test_whatever_happens(actions, random):
    """Pauses are kept, what was told last is what is true, nobody speaks after the last turn."""
    with pytest.MonkeyPatch.context() as patch:
        bench = Bench(patch, choose=random.uniform)
    objects = {}

    def step(seconds):
        try:
            bench.run(seconds)
        except NotReady:
            bench.now += seconds

    for what, argument, mac in actions:
        if what == "use":
            objects[argument] = mac and vm(argument, mac)
            bench.use(*filter(None, objects.values()))
        elif what == "run":
            step(argument)
        else:
            bench.down = argument
    bench.down = False
    step(20)
    told = {}
    for time, text, _ in bench.sent:
        name, mac, event, number = text.split()
        before = told.get(name)
        if before:
            assert time - before[0] >= PAUSE - 1e-6
            assert event != "due" or (mac == before[1] and int(number) == before[2] + 1)
        assert event == "due" or int(number) == 0
        assert event not in ("due", "changed", "gone") or before
        told[name] = (time, mac, int(number), event)
    for number, gateway in objects.items():
        last = told.get(f"vm-{number}")
        if gateway is None:
            assert ("arp", vm(number).key) not in bench.sender._sending
            assert last is None or last[3] == "gone" or ("down", True, None) in actions
        else:
            assert last and last[1] == gateway.mac and last[3] != "gone"


def test_the_greenthread_sends_and_sleeps(monkeypatch):
    bench = Bench(monkeypatch)
    monkeypatch.setattr(periodic, "RETRY", 0.05)
    bench.down = True
    bench.sender.start()
    try:
        hub.sleep(0.05)
        bench.use(vm(1))
        hub.sleep(0.1)
        assert not bench.sent
        bench.down = False
        hub.sleep(0.1)
        assert [text for _, text, _ in bench.sent] == [f"vm-1 {A} appeared 0"]
        bench.now += 5
        bench.use(vm(1), vm(2))
        hub.sleep(0.1)
        assert len(bench.sent) == 3
    finally:
        bench.sender.close()


def test_an_occasion_says_what_was_before(monkeypatch):
    seen = []

    def note(gateway, occasion):
        seen.append((gateway, occasion))
        return Turn((Outgoing(b"x", (1,)),), (5, 5))

    bench = Bench(monkeypatch, note)
    first, second = vm(1), dataclasses.replace(vm(1), vm_ofport=7)
    bench.use(first)
    bench.run(5)
    bench.use(second)
    bench.run(4)
    bench.use()
    bench.run(4)
    assert seen == [(first, Occasion(Event.APPEARED)), (first, Occasion(Event.DUE, 1)),
                    (second, Occasion(Event.CHANGED, 0, first)), (second, Occasion(Event.GONE))]
