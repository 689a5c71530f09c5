# SPDX-License-Identifier: Apache-2.0
"""What plan() must know of each driver."""

from fip64agent.translator import driver

CAPABILITIES = {name: driver(name).capabilities for name in ("tayga", "vpp")}
