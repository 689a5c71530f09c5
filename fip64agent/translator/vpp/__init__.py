# SPDX-License-Identifier: Apache-2.0
"""The translator `vpp`: VPP with the fip64 plugin, driven over its binary API."""
