# SPDX-License-Identifier: Apache-2.0
"""Security groups: what may come to VM ports of this host, and what may leave them."""

from __future__ import annotations

from fip64agent.plan.groups.elsewhere import ARRIVALS, ENTRIES
from fip64agent.plan.groups.filters import FILTERED_NETWORKS, FILTERS
from fip64agent.plan.groups.objects import (
    Arrival,
    Entry,
    FilteredNetwork,
    FilteredPort,
    Product,
    RemoteAddress,
    RuleService,
)
from fip64agent.plan.groups.products import PRODUCT_NUMBERS, PRODUCTS
from fip64agent.plan.groups.remotes import REMOTE_ADDRESSES, SERVICES
from fip64agent.plan.kinds import Feature, Kind

# No kind is "after" a served port: when a port is new, its filter is there before its packets are.
FEATURE = Feature(
    "groups",
    kinds=(
        Kind(FilteredNetwork.kind, "conntrack zone", "conntrack zones", listed=False),
        Kind(FilteredPort.kind, "filter of a port", "filters of ports", listed=False),
        Kind(Product.kind, "product of rules", "products of rules", listed=False),
        Kind(RuleService.kind, "service of rules", "services of rules", listed=False),
        Kind(RemoteAddress.kind, "remote address", "remote addresses", listed=False),
        Kind(Arrival.kind, "MAC of a filtered port", "MACs of filtered ports", listed=False),
        Kind(Entry.kind, "way to filtered ports", "ways to filtered ports", listed=False)),
    planners=(FILTERED_NETWORKS, FILTERS, PRODUCTS, SERVICES, REMOTE_ADDRESSES, ARRIVALS, ENTRIES),
    numbers=(PRODUCT_NUMBERS,))
