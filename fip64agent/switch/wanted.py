# SPDX-License-Identifier: Apache-2.0
"""The flows, and the meters that they use, which an object of the plan needs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from fip64agent.plan.desired import ObjectKey
from fip64agent.switch import features, pipeline
from fip64agent.switch.connection import codec
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.flows.flow import Controller, Flow

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class FaultyFlows:
    """In place of a feature's flows for an object, which cannot be made. It can never be installed."""

    feature: str
    reason: str
    owner: ObjectKey

    @property
    def key(self) -> Hashable:
        return ("faulty", self.feature, self.owner)

    def __str__(self) -> str:
        return f"the {self.feature} flows of {pipeline.owner_text(self.owner)}"


def flows(obj: Any, rate: int, burst: int) -> Iterator[FlowItem | MeterItem | FaultyFlows]:
    """Yield what an object of the plan needs, each meter before the flows that use it.

    `rate`, `burst`: of the meters. A feature that fails costs the object its flows, and nothing else.
    """
    for feature, function in features.flow_functions(obj.kind):
        try:
            items = list(_items(function(obj), rate, burst))
        except Exception as error:
            LOG.debug("the %s flows of %s cannot be made", feature, obj.key, exc_info=True)
            items = [FaultyFlows(feature, f"{type(error).__name__}: {error}", obj.key)]
        yield from items


def _items(made: Iterable[Flow], rate: int, burst: int) -> Iterator[FlowItem | MeterItem]:
    for flow in made:
        for action in flow.actions:
            if isinstance(action, Controller) and action.meter is not None:
                yield MeterItem(action.meter, rate, burst, flow.owner)
        yield codec.encode(flow)
