# SPDX-License-Identifier: Apache-2.0
"""Keeps what is installed as the plan in force says.

Triggers only mark work as due. There are three: submit() with a newer plan, invalidate() of a room whose
installed state may have changed, and time (an audit, a retry). A pass then compares what is installed with
the plan, and changes it in a safe order: it makes links first and flows last, and removes what is not wanted
any more in the reverse order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import NOTHING, Desired, ObjectKey, PlanObject
from fip64agent.reconcile import diff
from fip64agent.reconcile.room import Item, Room
from fip64agent.reconcile.room_state import Failure, RoomState

LOG = logging.getLogger(__name__)

ALIVE_INTERVAL = 5.0
"""Seconds between two signs of life while there is nothing to do, for the watchdog."""
HANG_TIMEOUT = 60
"""A pass that gives no sign of life for so many seconds hangs; systemd's watchdog then acts."""
SECONDS_PER_ITEM = 0.02
"""Seconds that are added to HANG_TIMEOUT for each item that a room works on: the links of 100 tenants take
7 s on a busy machine."""
REPAIRS_IN_A_ROW = 20
"""After so many passes in a row that had something to repair, the next one waits."""
YIELD_EVERY = 500
"""After so many objects, other greenthreads may run."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One thing the next pass would do, for the operator."""

    room: str
    action: str
    """create, update or remove."""
    owner: ObjectKey
    what: str


class Loop:
    """Keeps what is installed in the rooms as the newest plan says."""

    def __init__(self, rooms: Sequence[Room], audit_interval: float = 300, backoff_min: float = 1,
                 backoff_max: float = 60, clock: Callable[[], float] = time.monotonic,
                 on_pass: Callable[[], None] = lambda: None) -> None:
        """Take the rooms in the order in which things are made.

        All times are seconds of `clock`. `on_pass` is called after each pass.
        """
        self._states = [RoomState(room, clock) for room in rooms]
        self._audit_interval = audit_interval
        self._backoff = (backoff_min, backoff_max)
        self._clock = clock
        self._on_pass = on_pass
        self._desired: Desired | None = None
        self._done: Desired = NOTHING
        self._due = hub.Event()
        self._audit_at = clock() + audit_interval
        self._invalidated: set[str] = set()
        self._repairs = 0
        self.passes = 0
        self.last_pass_seconds = 0.0
        self.applied = 0
        self.pruned = 0
        self.last_alive = clock()
        """When the loop last gave a sign of life, by its clock."""
        self._allowance = 0.0

    def configure(self, conf) -> None:
        """Take the intervals of [reconcile], at the start and after a reload."""
        self._audit_interval = conf.reconcile.audit_interval
        self._backoff = (conf.reconcile.backoff_min, conf.reconcile.backoff_max)
        self._audit_at = min(self._audit_at, self._clock() + self._audit_interval)

    @property
    def alive(self) -> bool:
        """False when there was no sign of life for HANG_TIMEOUT and SECONDS_PER_ITEM of its work."""
        return self._clock() - self.last_alive < HANG_TIMEOUT + self._allowance

    # -- triggers ---------------------------------------------------------------------------

    def submit(self, desired: Desired) -> None:
        """Make `desired` the plan in force; only the newest counts."""
        self._desired = desired
        self._due.set()

    def invalidate(self, name: str) -> None:
        """Read a room back in the next pass: others may have changed what is installed there."""
        self._invalidated.add(name)
        self._due.set()

    def invalidate_all(self) -> None:
        """Read everything back in the next pass."""
        for state in self._states:
            self.invalidate(state.name)

    # -- for the operator -------------------------------------------------------------------

    @property
    def desired(self) -> Desired:
        """The plan in force (an empty one before the first)."""
        return self._desired or NOTHING

    @property
    def settled(self) -> bool:
        """The plan in force has been carried out as far as it can be."""
        return (self._desired is not None and self._done is self._desired and not self._invalidated
                and all(state.installed is not None for state in self._states))

    @property
    def failures(self) -> list[Failure]:
        """Items that could not be installed or removed and are tried again."""
        return [failure for state in self._states for failure in state.failures.values()]

    @property
    def blocked(self) -> dict[str, str]:
        """Rooms that cannot work now, with the reason."""
        return {state.name: state.blocked for state in self._states if state.blocked}

    def carried_out(self, obj: PlanObject) -> bool:
        """Whether the last pass that worked dealt with `obj` as it is in the plan now."""
        return self._done.find(obj.key) == obj and not self.blocked

    def counts(self) -> dict[str, int]:
        """Installed items by room."""
        return {state.name: len(state.installed or ()) for state in self._states}

    def preview(self) -> list[Change]:
        """Read everything back now and return what the next pass would do. Empty when all is right.

        What it finds is repaired afterwards, as this reading may have used up a room's note of the change.
        Raises: NotReady when a room cannot be asked.
        """
        result = []
        for state in self._states:
            if reason := state.room.ready():
                raise NotReady(f"{state.name}: {reason}")
            work = diff.whole(self._wanted(state, self.desired), state.room.actual())
            result += [Change(state.name, "create" if was is None else "update", item.owner, str(item))
                       for was, item in work.apply]
            result += [Change(state.name, "remove", item.owner, str(item)) for item in work.prune]
            if work:
                self.invalidate(state.name)
        return result

    # -- the work ---------------------------------------------------------------------------

    def run(self) -> None:
        """Work for ever. No exception of a room ends it."""
        failed = 0
        while True:
            triggered = self._due.wait(self._seconds_to_next())
            self._due.clear()
            self.last_alive = self._clock()
            try:
                if triggered or self._is_pass_due():
                    self.step()
                failed = 0
            except Exception:
                shortest, longest = self._backoff
                wait = min(longest, shortest * 2 ** min(failed, 16))
                failed += 1
                LOG.exception("a pass failed; everything is read back and tried again in %g s", wait)
                for state in self._states:
                    state.installed = None
                self._pause(wait)
                self._due.set()

    def _pause(self, seconds: float) -> None:
        """Do nothing for so many seconds, but give signs of life."""
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            hub.sleep(min(left, ALIVE_INTERVAL))
            self.last_alive = self._clock()

    def _seconds_to_next(self) -> float:
        now = self._clock()
        times = [self._audit_at, now + ALIVE_INTERVAL]
        if self._desired is not None:
            times += [time for state in self._states for time in state.next_time()]
        return max(0.0, min(times) - now)

    def _is_pass_due(self) -> bool:
        """Whether a pass has something to do because of the time: an audit or a retry."""
        return self._clock() >= self._audit_at or (self._desired is not None and any(
            state.due() for state in self._states))

    def step(self) -> None:
        """Make one pass: bring all rooms to the plan in force. Before the first plan nothing is changed."""
        desired = self._desired
        if desired is None:  # without a topology, nothing that is installed can be called stale
            for state in self._states:
                state.note_ready()
            return
        # A pass makes thousands of items, none of them in a reference cycle. The garbage collector would take
        # a tenth of its time to find that out.
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._pass(desired)
        finally:
            if collecting:
                gc.enable()

    def _pass(self, desired: Desired) -> None:
        begun = self._clock()
        audit = begun >= self._audit_at
        if audit:
            self._audit_at = begun + self._audit_interval
        invalidated, self._invalidated = self._invalidated, set()
        changes = desired.changes(self._done)
        work = [(state, self._difference(state, desired, changes, audit or state.name in invalidated))
                for state in self._states]
        work = [(state, difference) for state, difference in work if difference]
        repairs = any(state.name in invalidated for state, _ in work)
        before = self.applied + self.pruned
        for state, difference in work:
            self._apply(state, difference)
        for state, difference in reversed(work):
            self._prune(state, difference)
        if repairs and self.applied + self.pruned > before:
            self._read_back_again(work)
        else:
            self._repairs = 0
        for state in self._states:
            state.note_pass()
        self._done = desired
        self.passes += 1
        self.last_pass_seconds = self._clock() - begun
        self.last_alive = self._clock()
        self._on_pass()

    def _read_back_again(self, work: Sequence[tuple[RoomState, diff.Difference]]) -> None:
        """Have everything read back after `work`, which was a repair.

        What was lost in one room may have taken something in another room with it, and more may have been
        lost during the repair. After REPAIRS_IN_A_ROW passes with something to repair, another program must
        be undoing the work: the next pass then waits.
        """
        self._repairs += 1
        if self._repairs % REPAIRS_IN_A_ROW:
            self.invalidate_all()
            return
        wait = self._backoff[1]
        self._audit_at = min(self._audit_at, self._clock() + wait)
        for state, difference in work:
            items = [item for _, item in difference.apply] + difference.prune
            more = f" and {len(items) - 1} more" if len(items) > 1 else ""
            LOG.warning("%s: repaired %d times in a row, and amiss again each time: %s%s (next look in %g s)",
                        state.name, self._repairs, items[0], more, wait)

    def _wanted(self, state: RoomState, desired: Desired) -> Iterator[Item]:
        for number, obj in enumerate(desired.objects()):
            if number % YIELD_EVERY == YIELD_EVERY - 1:
                hub.sleep(0)
                self.last_alive = self._clock()
            yield from state.room.expand(obj)

    def _difference(self, state: RoomState, desired: Desired, changes,
                    invalidated: bool) -> diff.Difference | None:
        invalidated = invalidated or self._needs_what_was_not_removed(state, changes)
        if state.installed is None or invalidated:
            if state.installed is None and self._clock() < state.retry_at and not invalidated:
                return None
            actual = self._read_back(state)
            if actual is None:
                return None
            if actual == state.installed and not changes:  # an audit that found no change
                return self._retries(state, desired, diff.Difference())
            state.installed = actual
            for key in [key for key in state.failures if state.failures[key].removing and key not in actual]:
                del state.failures[key]
            work = diff.whole(self._wanted(state, desired), actual, state.users)
            self._forget_unwanted(state, work)
            return work
        work = diff.partial(changes, state.room.expand, state.installed, state.users)
        return self._retries(state, desired, work)

    @staticmethod
    def _needs_what_was_not_removed(state: RoomState, changes) -> bool:
        """Whether a changed object needs an item that could not be removed, which takes reading back."""
        removing = {key for key, failure in state.failures.items() if failure.removing}
        return bool(removing) and any(item.key in removing for _, new in changes if new is not None
                                      for item in state.room.expand(new))

    def _read_back(self, state: RoomState) -> dict[Hashable, Item] | None:
        if not state.is_ready():
            return None
        try:
            actual = state.room.actual()
        except NotReady as error:
            state.note_refusal(str(error))
            return None
        self.last_alive = self._clock()
        state.note_read_back(actual)
        return actual

    def _forget_unwanted(self, state: RoomState, work: diff.Difference) -> None:
        """Drop the failures of items that the full comparison leaves as they are."""
        due = {item.key for _, item in work.apply} | {item.key for item in work.prune}
        for key in [key for key in state.failures if key not in due]:
            del state.failures[key]

    def _retries(self, state: RoomState, desired: Desired, work: diff.Difference) -> diff.Difference:
        """Add the items that failed before and are due again; drop failures of items that no object needs."""
        now = self._clock()
        included = {item.key for _, item in work.apply} | {item.key for item in work.prune}
        for key, failure in list(state.failures.items()):
            if key in included:
                continue
            if failure.removing:
                if failure.due <= now:
                    work.prune.append(failure.item)
                continue
            owner = desired.find(failure.item.owner)
            item = next((i for i in state.room.expand(owner) if i.key == key), None) if owner else None
            if item is None:
                del state.failures[key]
                if key not in state.installed:  # it may be there in part: only reading back shows that
                    self.invalidate(state.name)
            elif failure.due <= now:
                work.apply.append((state.installed.get(key), item))
        return work

    @contextlib.contextmanager
    def _allow_time_for(self, items: int) -> Iterator[None]:
        """Expect no sign of life for longer, while a room works on so many items."""
        self.last_alive, self._allowance = self._clock(), items * SECONDS_PER_ITEM
        try:
            yield
        finally:
            self.last_alive, self._allowance = self._clock(), 0.0

    def _apply(self, state: RoomState, work: diff.Difference) -> None:
        if not work.apply:
            return
        try:
            with self._allow_time_for(len(work.apply)):
                failed = state.room.apply(work.apply)
        except NotReady as error:
            state.note_refusal(str(error))
            return
        for _was, item in work.apply:
            key = item.key
            if reason := failed.get(key):
                self._failed(state, item, reason, removing=False)
            else:
                state.installed[key] = item
                state.failures.pop(key, None)
                self.applied += 1

    def _prune(self, state: RoomState, work: diff.Difference) -> None:
        if not work.prune or state.installed is None:
            return
        try:
            with self._allow_time_for(len(work.prune)):
                failed = state.room.prune(work.prune)
        except NotReady as error:
            state.note_refusal(str(error))
            return
        for item in work.prune:
            key = item.key
            if reason := failed.get(key):
                self._failed(state, item, reason, removing=True)
            else:
                state.installed.pop(key, None)
                state.failures.pop(key, None)
                self.pruned += 1

    def _failed(self, state: RoomState, item: Item, reason: str, removing: bool) -> None:
        before = state.failures.get(item.key)
        tries = before.tries + 1 if before else 1
        shortest, longest = self._backoff
        wait = min(longest, shortest * 2 ** min(tries - 1, 16))
        if before is None or before.reason != reason:
            LOG.error("%s: cannot %s %s: %s (next try in %g s)", state.name,
                      "remove" if removing else "install", item, reason, wait)
        state.failures[item.key] = Failure(state.name, item, removing, reason, tries, self._clock() + wait)
