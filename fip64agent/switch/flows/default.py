# SPDX-License-Identifier: Apache-2.0
"""What no flow takes is switched as before."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Host
from fip64agent.plan.ports.objects import AllServedPorts
from fip64agent.switch import pipeline
from fip64agent.switch.examples import HOST
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import NORMAL, Flow, Output


def default(obj: Host | AllServedPorts) -> Iterator[Flow]:
    """Yield NORMAL at priority 0: one object does so, or the flow would go with the first that goes.

    It is always the same flow, which the room knows: it does not add it where another system has one there.
    """
    if isinstance(obj, Host) or obj.alone:
        yield Flow(pipeline.CLASSIFIER, pipeline.DEFAULT, (), (Output(NORMAL),), "default",
                   (Host.kind,))


FEATURE = FlowFeature(
    "default", 1, "What no flow takes is switched as before.",
    {Host.kind: default, AllServedPorts.kind: default},
    (Example("Once per host", "As soon as the host has an uplink or a served port, unless another system has "
             "a flow there:", (HOST,)),))
