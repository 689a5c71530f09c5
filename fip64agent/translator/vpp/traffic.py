# SPDX-License-Identifier: Apache-2.0
"""VPP's counters by router id and floating IP: the plugin counts by index, and its dumps name the indexes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address

from fip64agent.translator.base import Count, Traffic
from fip64agent.translator.vpp import tags
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppUnavailable
from fip64agent.translator.vpp.stats import Counters, StatsReader

ALL = 0xFFFFFFFF
_GAUGES = ("bindings", "bindings-static")
"""The plugin's counters of a tenant that can decrease."""
_TRANSLATED = "ok"
"""The plugin's name for packets that it translated as usual."""
OFFLOAD = "unsupported-offload"
"""The plugin's reason to drop a packet whose segmentation, or checksum in a tunnel, was left to hardware."""
Fip = tuple[str, IPv6Address]
"""(router id, floating IP)"""
Directions = Mapping[str, Count]
"""{TO_VM or TO_CLIENT: count}"""


@dataclasses.dataclass(slots=True)
class Totals:
    """Sums by tenant, which do not decrease when floating IPs are removed or made anew."""

    last: dict[Fip, Directions] = dataclasses.field(default_factory=dict)
    sums: dict[str, dict[str, Count]] = dataclasses.field(default_factory=dict)

    def add(self, fips: Mapping[Fip, Directions], tenants: list[str]) -> dict[str, Directions]:
        """Add what the counters of floating IPs have grown by; return the sums of these tenants."""
        for key, directions in fips.items():
            sums = self.sums.setdefault(key[0], {})
            before = self.last.get(key, {})
            for direction, now in directions.items():
                then, total = before.get(direction, Count(0, 0)), sums.get(direction, Count(0, 0))
                if now.packets < then.packets:  # it was made anew, and counts from 0
                    then = Count(0, 0)
                sums[direction] = Count(total.packets + now.packets - then.packets,
                                        total.octets + now.octets - then.octets)
        self.last = dict(fips)
        return {name: dict(self.sums.get(name, {})) for name in tenants}


class TrafficCounters:
    """Reads the counters of VPP, also after VPP has restarted. stats_socket: its path."""

    def __init__(self, stats_socket: str) -> None:
        self._stats = StatsReader(stats_socket)
        self._totals = Totals()
        self._offload_samples: list[int] = []
        """The counter OFFLOAD at the last two calls of sample()."""

    def close(self) -> None:
        """Disconnect: VPP has ended, or the agent ends."""
        self._stats.close()
        self._offload_samples = []

    def sample(self) -> None:
        """Keep the counter that warnings() compares with. Call it every few minutes."""
        with contextlib.suppress(VppUnavailable):  # without a stats segment there is nothing to warn of
            self._offload_samples = [*self._offload_samples[-1:], self._with_offload()]

    def warnings(self) -> list[str]:
        """Return a warning when packets were dropped since the last sample() but one."""
        if not self._offload_samples:
            return []
        try:
            count = self._with_offload() - self._offload_samples[0]
        except VppUnavailable:
            return []
        if count <= 0:
            return []
        return [f"VPP dropped {count} packets lately whose segmentation was left to do "
                "(counter unsupported-offload): large TCP transfers stall; switch GSO off "
                "on the interface that they come in by"]

    def _with_offload(self) -> int:
        return sum(reasons.get(OFFLOAD, 0) for reasons in self._stats.read().errors.values())

    def tenants(self, client: VppClient) -> dict[str, dict[str, int]]:
        """Return {router id: {"clients": bindings now, an event: how often}}. Raises: NotReady, VppError."""
        counted = self._stats.read()
        return {router_id: {"clients": detail.n_bindings,
                            **{name: value for name, value in counted.tenant(detail.tenant_index).items()
                               if name not in _GAUGES}}
                for router_id, detail in _tenants(client)}

    def traffic(self, client: VppClient) -> Traffic:
        """Return what was translated. Raises: NotReady, VppError."""
        router_of = {detail.tenant.table_id: router_id for router_id, detail in _tenants(client)}
        mappings = client.dump("fip64_mapping_dump", table_id=ALL)
        counted = self._stats.read()
        fips = {(router_of[each.mapping.table_id], each.mapping.floating): counted.mapping(each.mapping_index)
                for each in mappings if each.mapping.table_id in router_of}
        return Traffic(fips, self._totals.add(fips, list(router_of.values())), _errors(counted))


def _tenants(client: VppClient) -> Iterator[tuple[str, object]]:
    """Yield (router id, details) of the tenants that are ours."""
    for detail in client.dump("fip64_tenant_dump"):
        if router_id := tags.tenant_of(detail.tenant.tag):
            yield router_id, detail


def _errors(counted: Counters) -> dict[tuple[str, str], int]:
    return {(node, reason): count for node, reasons in counted.errors.items()
            for reason, count in reasons.items() if reason != _TRANSLATED}
