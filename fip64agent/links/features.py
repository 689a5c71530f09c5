# SPDX-License-Identifier: Apache-2.0
"""What features need of Linux, and from an object of the plan to all its items. Pure.

A feature is found by its module in this package, or by its entry point in another one. The translator's
driver says in a `model.Layout` what it needs for the same objects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from fip64agent.discovery import found
from fip64agent.links import marks
from fip64agent.links.model import Layout, LinkItem
from fip64agent.plan.desired import PlanObject

GROUP = "fip64agent.links"
"""Entry points of other packages: each names a model.LinkFeature."""


@functools.cache
def _by_kind() -> dict[str, tuple[Callable, ...]]:
    result: dict[str, tuple[Callable, ...]] = {}
    for _, feature in found("fip64agent.links", "FEATURE", GROUP):
        for kind, function in feature.links.items():
            result[kind] = (*result.get(kind, ()), function)
    return result


def expand(prefix: str, layout: Layout, obj: PlanObject) -> Iterator[LinkItem]:
    """Yield the items for `obj`: of all features, then of the driver.

    prefix: the agent's namespace prefix, for the marks.
    """
    mark = marks.of(prefix, obj)
    for function in _by_kind().get(obj.kind, ()):
        yield from function(obj, mark)
    yield from layout.links(obj, mark)
