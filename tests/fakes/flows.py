# SPDX-License-Identifier: Apache-2.0
"""The flows of objects of the plan, as the features make them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fip64agent.switch.features import flow_functions
from fip64agent.switch.flows.flow import Flow


def flows_of(obj: Any) -> Iterator[Flow]:
    """Yield all flows of an object of the plan, of all features."""
    for _, function in flow_functions(obj.kind):
        yield from function(obj)
