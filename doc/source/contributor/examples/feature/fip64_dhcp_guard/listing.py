# SPDX-License-Identifier: Apache-2.0
"""How the guards are listed. fip64ctl loads this with each call: it imports nothing that is large."""

from __future__ import annotations

from fip64agent.admin.answers import name_of
from fip64agent.admin.listing import STATE_COLUMNS, Listing

LISTING = Listing(
    "dhcpguard", "DHCP guard", "DHCP guards", help="List the VM ports that are kept from answering DHCP.",
    path="dhcpguards", columns=("port_id", "port", *STATE_COLUMNS), by_state=True,
    row=lambda states, name: {"port_id": name, "port": name_of(states.topology.ports.get(name), name)})
