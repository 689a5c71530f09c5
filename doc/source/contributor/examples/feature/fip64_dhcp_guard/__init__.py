# SPDX-License-Identifier: Apache-2.0
"""The example of contributor/new-feature: VMs must not answer as DHCPv4 servers."""
