# SPDX-License-Identifier: Apache-2.0
"""What reading back leaves in memory while the garbage collector is off, as it is in a pass of the loop."""

from __future__ import annotations

import gc

from fip64agent.links import readback
from fip64agent.links.kernel import Handles


def test_messages_are_freed_while_the_collector_is_off():
    handles = Handles()
    readback.read("f64-none-", handles)
    gc.collect()
    gc.disable()
    try:
        for _ in range(300):
            readback.read("f64-none-", handles)
        assert gc.get_count()[0] < 20_000
    finally:
        gc.enable()
        handles.close()
