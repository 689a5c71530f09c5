# SPDX-License-Identifier: Apache-2.0
"""What differs between two plans, in words for the log. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fip64agent.plan.desired import Desired
from fip64agent.plan.kinds import kinds

MOST = 20
"""Lines of one change of plan; beyond, the kinds are only counted."""


def describe_changes(old: Desired, new: Desired) -> list[str]:
    """Return a line for each object that comes, goes, changes or waits, of the kinds that are told."""
    lines = [*_changes(old, new), *_problems(old, new)]
    if len(lines) <= MOST:
        return [text for _, text in lines]
    counts = Counter(what for what, _ in lines)
    return [f"{number} times: {what}" if number > 1 else what for what, number in counts.items()]


def _changes(old: Desired, new: Desired) -> Iterator[tuple[str, str]]:
    """Yield (what happened to which kind, the same with the object named)."""
    known = kinds()
    for before, after in new.changes(old):
        obj = after if after is not None else before
        kind = known[obj.kind]
        if kind.describe is None:
            continue
        if after is None:
            verb = "removed"
        elif before is None:
            verb = "added"
        elif not kind.tell_changes:
            continue
        else:
            verb = "changed"
        yield f"{kind.title} {verb}", f"{kind.title} {verb}: {kind.describe(obj)}"


def _problems(old: Desired, new: Desired) -> Iterator[tuple[str, str]]:
    if new.problems is old.problems:
        return
    known = kinds()
    for (kind, name), problem in new.problems.items():
        if old.problems.get((kind, name)) != problem:
            what = f"{known[kind].title} {problem.state}"
            yield what, f"{what}: {name}: {problem.reason}"


def count_objects(desired: Desired, failures: int) -> str:
    """Return how many objects of each listed kind a plan has, and how many items of it failed, in words."""
    counts = [(len(desired.of(kind.name)), kind.title, kind.titles)
              for kind in kinds().values() if kind.listed]
    counts.append((failures, "failure", "failures"))
    return ", ".join(f"{number} {one if number == 1 else many}" for number, one, many in counts)
