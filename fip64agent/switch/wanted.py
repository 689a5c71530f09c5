# SPDX-License-Identifier: Apache-2.0
"""What an object of the plan needs in Open vSwitch: ports, flows, and the meters that these use."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

from fip64agent.plan.desired import ObjectKey
from fip64agent.switch import features, pipeline, ports
from fip64agent.switch.connection import codec
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.flows.flow import Controller, Flow
from fip64agent.switch.ports import PortItem

LOG = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True, slots=True)
class Faulty:
    """In place of items of an object that cannot be made. It can never be installed."""

    what: str
    """The items: "the arp flows"."""
    reason: str
    owner: ObjectKey

    @property
    def key(self) -> Hashable:
        return ("faulty", self.what, self.owner)

    def __str__(self) -> str:
        return f"{self.what} of {pipeline.owner_text(self.owner)}"


def items(obj: Any, rate: int, burst: int) -> Iterator[PortItem | FlowItem | MeterItem | Faulty]:
    """Yield what an object of the plan needs, each meter before the flows that use it.

    `rate`, `burst`: of the meters. A function of a feature that fails costs the object what it makes only.
    """
    yield from _made("the ports", obj, ports.wanted)
    for feature, function in features.flow_functions(obj.kind):
        def flows(obj: Any, function=function) -> Iterator[FlowItem | MeterItem]:
            return _items(function(obj), obj.key, rate, burst)

        yield from _made(f"the {feature} flows", obj, flows)


def _made(what: str, obj: Any, make: Callable[[Any], Iterable[Item]]) -> Iterable[Item | Faulty]:
    try:
        return list(make(obj))
    except Exception as error:
        LOG.debug("%s of %s cannot be made", what, obj.key, exc_info=True)
        return [Faulty(what, f"{type(error).__name__}: {error}", obj.key)]


def _items(made: Iterable[Flow], owner: ObjectKey, rate: int, burst: int) -> Iterator[FlowItem | MeterItem]:
    for flow in made:
        for action in flow.actions:
            if isinstance(action, Controller) and action.meter is not None:
                yield MeterItem(action.meter, rate, burst, owner)
        item = codec.encode(flow)
        # A shared flow has the host's cookie, and fails for the object that wants it: there may be no Host.
        yield item if flow.owner == owner else dataclasses.replace(item, owner=owner)
