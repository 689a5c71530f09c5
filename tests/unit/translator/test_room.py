# SPDX-License-Identifier: Apache-2.0
"""One driver translates, others only leave things. With real ones: test_vpp_accidents.py."""

import dataclasses

from fip64agent.exceptions import NotReady
from fip64agent.translator.room import TranslatorRoom


@dataclasses.dataclass(frozen=True)
class Thing:
    key: str


class Driver:
    def __init__(self, kind: str, *things: str) -> None:
        self.kind = kind
        self.things = {thing: Thing(thing) for thing in things}
        self.stuck: dict[str, str] = {}
        self.down = False
        self.asked = 0
        self.closed = False

    def actual(self):
        self.asked += 1
        if self.down:
            raise NotReady("it does not run")
        return dict(self.things)

    remains = actual

    def apply(self, items):
        self.things |= {item.key: item for _, item in items}
        return {}

    def prune(self, items):
        for item in items:
            if item.key not in self.stuck:
                del self.things[item.key]
        return dict(self.stuck)

    def close(self):
        self.closed = True


def test_what_a_retired_driver_left_is_read_back_and_removed_by_it():
    active, retired = Driver("vpp", "new"), Driver("tayga", "old")
    both = TranslatorRoom(active, [retired])
    assert both.kind == "vpp" and set(both.actual()) == set(both.remains()) == {"new", "old"}
    assert both.prune([Thing("old")]) == {}
    assert set(both.actual()) == set(active.things) == {"new"} and retired.closed
    asked = retired.asked
    both.actual()
    assert retired.asked == asked, "who left nothing is not asked again"


def test_what_cannot_be_removed_yet_stays_the_retired_drivers():
    retired = Driver("tayga", "old")
    retired.stuck = {"old": "it does not end"}
    both = TranslatorRoom(Driver("vpp"), [retired])
    both.actual()
    assert both.prune([Thing("old")]) == {"old": "it does not end"}
    retired.stuck = {}
    assert both.prune([Thing("old")]) == {} and both.actual() == {}


def test_a_retired_driver_that_does_not_run_has_nothing():
    retired = Driver("vpp", "unseen")
    retired.down = True
    both = TranslatorRoom(Driver("tayga", "new"), [retired])
    assert set(both.actual()) == {"new"} and retired.closed


def test_the_active_driver_makes_what_is_new():
    active, retired = Driver("vpp"), Driver("tayga", "old")
    both = TranslatorRoom(active, [retired])
    both.actual()
    both.apply([(None, Thing("new"))])
    assert set(active.things) == {"new"} and set(retired.things) == {"old"}
