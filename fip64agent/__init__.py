# SPDX-License-Identifier: Apache-2.0
"""fip64agent: floating IPv6 addresses for IPv4-only VMs, per compute node."""

__version__ = "0.1.0"
