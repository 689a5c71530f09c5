# SPDX-License-Identifier: Apache-2.0
"""What needs to know the datapath is planned as soon as it is known, and anew when it has changed."""

import dataclasses

from fip64agent.plan.engine import Engine
from fip64agent.plan.inputs import DATAPATH, Datapath, Inputs
from fip64agent.plan.nodes import Derived, in_order
from fip64agent.topology.model import Topology


def test_nothing_follows_from_a_datapath_that_is_not_known():
    node = Derived("answers", lambda ask, key, datapath: datapath.nd_flags, each=DATAPATH)
    engine = Engine(in_order([node]))
    inputs = Inputs(Topology(), {})
    seen = []
    for datapath in (None, Datapath("netdev", nd_flags=True), Datapath("system"), None):
        engine.update(dataclasses.replace(inputs, datapath=datapath))
        seen.append(engine.value(node, ""))
    assert seen == [None, True, False, None]
