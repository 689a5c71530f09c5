# SPDX-License-Identifier: Apache-2.0
"""Marks on links (their ifalias): whose they are, and the numbers in force.

A mark begins with the agent's namespace prefix, so that two agents on one machine (a lab beside the
real one) never take each other's links for their own. Then come the kind and the id of the object that the
links are made for, and its numbers: "fip64agent fip64- tenant red vlan 7".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fip64agent.plan.desired import PlanObject
from fip64agent.plan.inputs import Allocations
from fip64agent.plan.kinds import Kind, kinds

_PROGRAM = "fip64agent"


def begin(prefix: str) -> str:
    """Return what every mark of this agent begins with."""
    return f"{_PROGRAM} {prefix} "


def namespace(prefix: str, name: str) -> str:
    """Return the mark on the loopback of a namespace of ours."""
    return f"{begin(prefix)}netns {name}"


def of(prefix: str, obj: PlanObject) -> str:
    """Return the mark of the links that are made for an object of the plan."""
    numbers = (f"{attribute} {getattr(obj, attribute)}" for _, attribute in kinds()[obj.kind].numbers)
    return begin(prefix) + " ".join((*obj.key, *numbers))


def allocations(prefix: str, aliases: Iterable[str]) -> Allocations:
    """Read the numbers in force off the marks; what is no mark of ours is passed over."""
    forms = [(kind, _form(kind)) for kind in kinds().values() if kind.numbers]
    found: dict[str, dict[str, int]] = {}
    for alias in aliases:
        if not alias.startswith(begin(prefix)):
            continue
        for kind, form in forms:
            if match := form.fullmatch(alias, len(begin(prefix))):
                owner, *numbers = match.groups(default="")
                for (space, _), number in zip(kind.numbers, numbers, strict=True):
                    found.setdefault(space.name, {})[owner] = int(number)
    return Allocations(found)


def _form(kind: Kind) -> re.Pattern[str]:
    """Return the form of the marks of a kind; its groups are the id, if there is one, and the numbers."""
    numbers = "".join(f" {re.escape(attribute)} ([0-9]{{1,9}})" for _, attribute in kind.numbers)
    return re.compile(f"{re.escape(kind.name)}(?: (.*))?{numbers}", re.DOTALL)
