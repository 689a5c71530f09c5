# SPDX-License-Identifier: Apache-2.0
"""Why something is not in the plan, and how objects are called."""

from __future__ import annotations

import dataclasses
from typing import Any

ObjectKey = tuple[str, ...]
"""(kind, id...): ("host",), ("uplink", port id), ("gateway", VM port id, gateway address)."""

PENDING = "pending"
ERROR = "error"
ACTIVE = "active"


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Why an object of the topology is not (wholly) in the plan."""

    state: str
    """PENDING (waits for something that is expected to come) or ERROR (somebody must act)."""
    reason: str


def object_id(obj: Any) -> str:
    """Return what follows the kind in an object's key, as one word or several: its id."""
    return " ".join(obj.key[1:])
