# SPDX-License-Identifier: Apache-2.0
"""From a guard to its flow."""

from __future__ import annotations

from collections.abc import Iterator

from fip64_dhcp_guard.plan import DhcpGuard
from fip64agent.switch.features import FlowFeature
from fip64agent.switch.flows.flow import DROP, IPV4, Flow
from fip64agent.switch.pipeline import CLASSIFIER, ISOLATION


def _flows(guard: DhcpGuard) -> Iterator[Flow]:
    match = (("in_port", guard.ofport), IPV4, ("ip_proto", 17), ("udp_src", 67))
    yield Flow(CLASSIFIER, ISOLATION, match, DROP, "dhcpguard", guard.key)


FEATURE = FlowFeature("dhcpguard", 128, "Drops what a VM sends as a DHCPv4 server.", {DhcpGuard.kind: _flows})
