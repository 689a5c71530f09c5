# SPDX-License-Identifier: Apache-2.0
"""The reconcile loop over rooms that keep their items in a dictionary."""

import dataclasses
import logging
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import NOTHING, Desired, Gateway
from fip64agent.reconcile.loop import HANG_TIMEOUT, Loop
from fip64agent.reconcile.room_state import LONGEST_WAIT, READY_INTERVAL


@dataclasses.dataclass(frozen=True)
class Thing:
    key: str
    value: str
    owner: tuple = dataclasses.field(default=(), compare=False)


class DictRoom:
    """A room whose component is a dictionary that tests may change by hand."""

    def __init__(self, name, calls=None):
        self.name = name
        self.installed = {}
        self.calls = calls if calls is not None else []
        self.down = None
        self.refuses = {}
        self.reads = 0

    def ready(self):
        return self.down

    def expand(self, obj):
        yield Thing(f"{self.name}/{obj.port_id}", obj.mac, obj.key)

    def actual(self):
        self.reads += 1
        return dict(self.installed)

    def apply(self, items):
        if self.down:
            raise NotReady(self.down)
        failed = {}
        for _was, item in items:
            if reason := self.refuses.get(item.key):
                failed[item.key] = reason
            else:
                self.calls.append(("+", item.key))
                self.installed[item.key] = item
        return failed

    def prune(self, items):
        failed = {}
        for item in items:
            if reason := self.refuses.get(item.key):
                failed[item.key] = reason
            else:
                self.calls.append(("-", item.key))
                self.installed.pop(item.key, None)
        return failed


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def desired(**ports) -> Desired:
    return Desired.of_objects(
        Gateway(port, IPv4Address("10.0.0.1"), mac, 1, "", True, True) for port, mac in ports.items())


@pytest.fixture
def calls():
    return []


@pytest.fixture
def rooms(calls):
    return [DictRoom("links", calls), DictRoom("switch", calls)]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loop(rooms, clock):
    return Loop(rooms, audit_interval=300, clock=clock)


def test_makes_links_first_and_removes_flows_first(loop, calls):
    loop.submit(desired(a="1"))
    loop.step()
    assert calls == [("+", "links/a"), ("+", "switch/a")]
    calls.clear()
    loop.submit(desired(b="2"))
    loop.step()
    assert calls == [("+", "links/b"), ("+", "switch/b"), ("-", "switch/a"), ("-", "links/a")]


def test_nothing_is_touched_before_the_first_plan(loop, rooms, calls):
    rooms[0].installed["links/old"] = Thing("links/old", "x")
    loop.step()
    assert not calls and not loop.settled


def test_what_the_first_plan_waits_for_is_told_once(loop, rooms, caplog):
    rooms[1].down = "there is no bridge"
    loop.step()
    loop.step()
    reported = [record for record in caplog.records if "there is no bridge" in record.message]
    assert len(reported) == 1 and loop.blocked["switch"] == "there is no bridge"
    rooms[1].down = None
    loop.step()
    assert "there is no bridge" not in loop.blocked.values() and rooms[1].reads == 0
    loop.submit(desired(a="1"))
    loop.step()
    assert loop.settled and not loop.blocked


def test_a_first_pass_adopts_what_is_right_and_removes_what_is_stale(loop, rooms, calls):
    rooms[0].installed = {"links/a": Thing("links/a", "1"), "links/old": Thing("links/old", "x")}
    loop.submit(desired(a="1"))
    loop.step()
    assert calls == [("+", "switch/a"), ("-", "links/old")]
    assert loop.settled


def test_one_change_reads_nothing_back(loop, rooms, calls):
    loop.submit(desired(a="1", b="2"))
    loop.step()
    reads = [room.reads for room in rooms]
    calls.clear()
    loop.submit(desired(a="1", b="3"))
    loop.step()
    assert [room.reads for room in rooms] == reads
    assert calls == [("+", "links/b"), ("+", "switch/b")]


def test_what_was_removed_by_hand_comes_back_when_the_room_says_so(loop, rooms, calls):
    loop.submit(desired(a="1", b="2"))
    loop.step()
    calls.clear()
    del rooms[1].installed["switch/a"]
    loop.step()
    assert not calls
    loop.invalidate("switch")
    loop.step()
    assert calls == [("+", "switch/a")]


def test_the_audit_finds_it_too(loop, rooms, clock, calls):
    loop.submit(desired(a="1"))
    loop.step()
    del rooms[0].installed["links/a"]
    calls.clear()
    clock.now = 299
    loop.step()
    assert not calls
    clock.now = 301
    loop.step()
    assert calls == [("+", "links/a")]


def test_a_refused_item_backs_off_and_stops_no_other(loop, rooms, clock, calls):
    rooms[1].refuses["switch/a"] = "no such port"
    loop.submit(desired(a="1", b="2"))
    loop.step()
    assert rooms[1].installed.keys() == {"switch/b"}
    (failure,) = loop.failures
    assert (failure.reason, failure.tries) == ("no such port", 1)
    assert failure.item.owner == ("gateway", "a", "10.0.0.1")
    tries = []
    for second in range(1, 70):
        clock.now = second
        before = loop.failures[0].tries
        loop.step()
        if loop.failures[0].tries > before:
            tries.append(second)
    assert tries == [1, 3, 7, 15, 31, 63]
    rooms[1].refuses.clear()
    clock.now = 200
    loop.step()
    assert not loop.failures
    assert rooms[1].installed.keys() == {"switch/a", "switch/b"}


def test_a_failure_is_forgotten_when_its_object_goes(loop, rooms, clock):
    rooms[1].refuses["switch/a"] = "no"
    loop.submit(desired(a="1"))
    loop.step()
    assert loop.failures
    loop.submit(desired())
    loop.step()
    assert not loop.failures


def test_what_cannot_be_removed_is_tried_again(loop, rooms, clock):
    loop.submit(desired(a="1"))
    loop.step()
    rooms[0].refuses["links/a"] = "busy"
    loop.submit(desired())
    loop.step()
    assert [(f.removing, f.reason) for f in loop.failures] == [(True, "busy")]
    rooms[0].refuses.clear()
    clock.now = 1.5
    loop.step()
    assert not loop.failures and not rooms[0].installed


def test_a_room_that_is_down_parks_its_work_and_others_go_on(loop, rooms, clock, calls):
    rooms[1].down = "OVS is away"
    loop.submit(desired(a="1"))
    loop.step()
    assert calls == [("+", "links/a")]
    assert loop.blocked == {"switch": "OVS is away"} and not loop.settled
    rooms[1].down = None
    loop.submit(desired(a="1", b="2"))
    clock.now = 1
    loop.step()
    assert rooms[1].installed.keys() == {"switch/a", "switch/b"}
    assert not loop.blocked and loop.settled


def test_preview_says_what_a_pass_would_do_and_does_nothing(loop, rooms, calls):
    loop.submit(desired(a="1", b="2"))
    loop.step()
    assert loop.preview() == []
    calls.clear()
    del rooms[1].installed["switch/a"]
    rooms[0].installed["links/zzz"] = Thing("links/zzz", "?")
    rooms[0].installed["links/b"] = Thing("links/b", "wrong")
    found = {(change.room, change.action) for change in loop.preview()}
    assert found == {("switch", "create"), ("links", "remove"), ("links", "update")}
    assert not calls


def test_what_preview_found_is_repaired_even_if_its_look_hid_the_damage(loop, rooms, calls):
    """A room that tells damage by comparing with its last read-back would take preview's for it."""
    loop.submit(desired(a="1"))
    loop.step()
    rooms[1].installed.clear()
    assert loop.preview()
    loop.step()
    assert rooms[1].installed.keys() == {"switch/a"}


def test_an_item_that_passes_to_another_object_is_not_removed(rooms, clock, calls):
    class ByMac(DictRoom):
        def expand(self, obj):
            yield Thing(obj.mac, "shared", obj.key)

    room = ByMac("links", calls)
    loop = Loop([room], clock=clock)
    loop.submit(desired(a="m"))
    loop.step()
    calls.clear()
    loop.submit(desired(b="m"))
    loop.step()
    assert room.installed.keys() == {"m"} and not calls


class SharedThing(Thing):
    shared = True


class SharingRoom(DictRoom):
    """Each object has an item of its own, and one that it shares with all objects of the same MAC address."""

    def expand(self, obj):
        yield Thing(obj.port_id, obj.mac, obj.key)
        yield SharedThing(f"for all of {obj.mac}", "", obj.key)


def test_a_shared_item_stays_until_the_last_object_that_wants_it_is_gone(clock, calls):
    room = SharingRoom("switch", calls)
    loop = Loop([room], clock=clock)
    for ports in ({"a": "m", "b": "m"}, {"b": "m"}, {"b": "m", "c": "m"}, {"c": "m"}):
        loop.submit(desired(**ports))
        loop.step()
        assert room.installed.keys() == {*ports, "for all of m"}
    assert room.reads == 1 and ("-", "for all of m") not in calls
    loop.submit(NOTHING)
    loop.step()
    assert not room.installed


PORTS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("123"))


@given(st.lists(st.tuples(PORTS, st.sets(st.sampled_from("abcdefgh")), st.booleans()), max_size=8))
def test_any_history_ends_where_the_last_plan_says(history):
    """Plans, things deleted by hand and refusals in any order: the end state is the last plan."""
    clock = Clock()
    rooms = [DictRoom("links"), DictRoom("switch")]
    loop = Loop(rooms, clock=clock)
    for ports, deleted, refuse in history:
        for room in rooms:
            for name in deleted:
                room.installed.pop(f"{room.name}/{name}", None)
                if refuse:
                    room.refuses[f"{room.name}/{name}"] = "not now"
            loop.invalidate(room.name)
        loop.submit(desired(**ports))
        loop.step()
        for room in rooms:
            room.refuses.clear()
        clock.now += 0.3
    final = history[-1][0] if history else {}
    clock.now += 100
    loop.submit(desired(**final) if final else NOTHING)
    loop.step()
    for room in rooms:
        assert {key: item.value for key, item in room.installed.items()} == {
            f"{room.name}/{port}": mac for port, mac in final.items()}
    assert not loop.failures


@given(st.lists(st.tuples(PORTS, st.sets(st.sampled_from("123")), st.booleans()), max_size=8))
def test_any_history_of_shared_items_ends_where_the_last_plan_says(history):
    """Plans, items deleted by hand, a switch that is away, in any order."""
    clock = Clock()
    room = SharingRoom("switch")
    loop = Loop([room], clock=clock)
    for ports, deleted, down in history:
        room.down = "away" if down else None
        if down:
            room.installed.clear()
        for mac in deleted:
            room.installed.pop(f"for all of {mac}", None)
        if down or deleted:
            loop.invalidate(room.name)
        loop.submit(desired(**ports))
        loop.step()
        clock.now += 100
        if not down:
            assert room.installed.keys() == {*ports, *(f"for all of {mac}" for mac in ports.values())}


def test_damage_in_one_room_makes_the_others_be_read_back(loop, rooms, calls):
    loop.submit(desired(a="1"))
    loop.step()
    calls.clear()
    rooms[0].installed.clear()
    rooms[1].installed.clear()  # it depended on the other, and says nothing itself
    loop.invalidate("links")
    for _ in range(3):  # one finds it, the other finds it, nothing is found
        loop.step()
    assert calls == [("+", "links/a"), ("+", "switch/a")]
    assert loop.settled


def test_what_could_not_be_removed_and_is_wanted_again_stays(loop, rooms, clock):
    loop.submit(desired(a="1"))
    loop.step()
    rooms[0].refuses["links/a"] = "busy"
    loop.submit(desired())
    loop.step()
    rooms[0].refuses.clear()
    loop.submit(desired(a="1"))
    loop.step()
    clock.now = 100
    loop.step()
    assert rooms[0].installed.keys() == {"links/a"}
    assert not loop.failures


def test_what_was_made_by_half_goes_with_its_object(loop, rooms, clock):
    rooms[0].refuses["links/a"] = "its far end is missing"
    loop.submit(desired(a="1"))
    loop.step()
    rooms[0].installed["links/a"] = Thing("links/a", "half")
    loop.submit(desired())
    loop.step()
    rooms[0].refuses.clear()
    loop.step()
    assert not rooms[0].installed and not loop.failures
    loop.step()
    assert loop.settled


def test_no_busy_wait_while_a_room_with_a_failure_is_down(loop, rooms, clock):
    rooms[1].refuses["switch/a"] = "no such port"
    loop.submit(desired(a="1"))
    loop.step()
    rooms[1].down = "Open vSwitch does not run"
    loop.invalidate("switch")
    loop.step()
    for clock.now in (10, 20):  # the failure is due since long
        loop.step()
        assert loop._seconds_to_next() == READY_INTERVAL


def work_for(loop, clock, seconds):
    """Let the loop work as run() does, without waiting; `clock` jumps to when it has something to do."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += loop._seconds_to_next()
        if loop._is_pass_due():
            loop.step()


def test_a_room_that_says_that_it_is_down_costs_no_passes_and_is_taken_up_when_it_is_not(loop, rooms, clock,
                                                                                         caplog):
    caplog.set_level(logging.INFO)
    rooms[1].down = "VPP cannot be started"
    loop.submit(desired(a="1"))
    loop.step()
    reads, passes = rooms[0].reads, loop.passes
    work_for(loop, clock, 250)
    assert (loop.passes, rooms[0].reads, rooms[1].reads) == (passes, reads, 0)
    rooms[1].down = None
    work_for(loop, clock, READY_INTERVAL)
    assert loop.settled and not loop.blocked
    assert [record.message for record in caplog.records] == ["switch cannot work now: VPP cannot be started",
                                                             "switch works again"]


def test_a_new_reason_is_seen_without_a_pass(loop, rooms, clock):
    rooms[1].down = "VPP cannot be started"
    loop.submit(desired(a="1"))
    loop.step()
    rooms[1].down = "VPP is not installed"
    work_for(loop, clock, 1)
    assert loop.passes == 1 and loop.blocked == {"switch": "VPP is not installed"}


class Unwilling(DictRoom):
    """It is ready, and refuses all the same."""

    def actual(self):
        self.reads += 1
        raise NotReady("it cannot be read back")


def test_a_room_that_is_ready_and_cannot_be_read_back_is_asked_ever_more_seldom(clock, caplog):
    room = Unwilling("translator")
    loop = Loop([room], audit_interval=10_000, clock=clock)
    loop.submit(desired(a="1"))
    loop.step()
    work_for(loop, clock, 600)
    assert room.reads == loop.passes == pytest.approx(8 + (600 - 64) / LONGEST_WAIT, abs=1)
    assert len(caplog.records) == 1
    loop.invalidate("translator")  # what the room tells by itself is not made to wait
    loop.step()
    assert loop.passes == room.reads


def test_an_idle_loop_makes_no_passes(loop, rooms, clock):
    loop.submit(desired(a="1"))
    loop.step()
    work_for(loop, clock, 290)
    assert loop.passes == 1
    work_for(loop, clock, 20)
    assert loop.passes == 2, "the audit"


def test_a_pass_that_fails_again_and_again_is_tried_ever_more_seldom(rooms, clock, monkeypatch, caplog):
    """Whatever a room raises: nothing ends the loop, nor makes it spin."""
    loop = Loop(rooms, audit_interval=300, clock=clock)
    loop.submit(desired(a="1"))
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_pause", pause)
    monkeypatch.setattr(rooms[0], "actual", lambda: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


class Forgetful(DictRoom):
    """Says that all went well; nothing is there then."""

    def apply(self, items):
        self.calls += [("+", item.key) for _, item in items]
        return {}


def test_what_never_stays_is_not_repaired_without_a_pause(calls, clock):
    room = Forgetful("links", calls)
    loop = Loop([room], audit_interval=300, backoff_max=60, clock=clock)
    loop.submit(desired(a="1"))
    loop.step()
    loop.invalidate("links")
    passes = 0
    while not loop.settled and passes < 100:
        loop.step()
        passes += 1
    assert passes < 100
    assert loop._seconds_to_next() > 0
    clock.now = 60
    calls.clear()
    loop.step()
    assert calls == [("+", "links/a")]  # not given up


class SlowRoom(DictRoom):
    """Takes its time, and looks whether the loop would be taken for dead meanwhile."""

    def __init__(self, name, clock, seconds):
        super().__init__(name)
        self.clock = clock
        self.seconds = seconds

    def apply(self, items):
        self.clock.now += self.seconds(len(items))
        assert self.loop.alive
        return super().apply(items)

    def prune(self, items):
        self.clock.now += self.seconds(len(items))
        assert self.loop.alive
        return super().prune(items)


@pytest.mark.parametrize("seconds", [lambda items: 40, lambda items: items * 0.015])
def test_a_long_pass_is_not_taken_for_one_that_hangs(clock, seconds):
    """Systemd would end the agent in the middle of the work, each time again."""
    rooms = [SlowRoom(name, clock, seconds) for name in ("links", "translator", "switch")]
    loop = Loop(rooms, clock=clock)
    for room in rooms:
        room.loop = loop
    loop.submit(desired(**{f"p{number}": "1" for number in range(5000)}))
    loop.step()
    loop.submit(desired())
    loop.step()
    assert loop.alive and not rooms[0].installed
    clock.now += HANG_TIMEOUT + 1
    assert not loop.alive


class Slow(DictRoom):
    """It installs one item, then it can do no more for now."""

    def apply(self, items):
        super().apply(items[:1])
        if items[1:]:
            raise NotReady("it did not answer within 3 s")
        return {}


def test_a_room_that_gets_on_is_not_made_to_wait_ever_longer(clock):
    room = Slow("translator")
    loop = Loop([room], audit_interval=10_000, clock=clock)
    loop.submit(desired(**{f"port{number}": "1" for number in range(30)}))
    loop.step()
    work_for(loop, clock, 30 * READY_INTERVAL)
    assert loop.settled and len(room.installed) == 30
