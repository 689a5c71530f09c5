# SPDX-License-Identifier: Apache-2.0
"""How VPP's tables route a packet, for `fip64ctl trace`: asks VPP for what `vppctl show ip fib` shows."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

from fip64agent.exceptions import NotReady
from fip64agent.reconcile.explain import OK, Check, Explanation, Outcome, PacketStopped, TracedPath
from fip64agent.translator import explain as common
from fip64agent.translator.vpp import tags
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError

NO_INTERFACE = 0xFFFFFFFF
_DROP = {1: "is local to VPP", 2: "is dropped", 5: "is answered with ICMP unreachable",
         6: "is answered with ICMP prohibited"}
"""vl_api_fib_path_type_t"""
_FIP64 = "fip64"
"""Name of the plugin's entries in VPP's tables."""


def checks(room, client: VppClient, interfaces: dict[str, int], traced: TracedPath) -> Explanation:
    """Return the checks of both directions. interfaces: {tag: sw_if_index}."""
    tables = _Tables(client, interfaces, traced)
    return Explanation(
        there=(Check("route", "VPP hands the floating IP's packets to the plugin fip64", tables.to_fip64),
               common.check_installed(room, traced), common.check_client_binding(room, traced),
               Check("vm-route", "VPP sends them to the tenant's VLAN", tables.to_vlan)),
        back=(Check("pool-route", "VPP hands the answer to the plugin fip64", tables.answer),
              Check("route-back", "VPP routes the answer to the uplink", tables.back),
              Check("next-hop", "the next hop towards the client", tables.neighbor)))


class _Tables:
    def __init__(self, client: VppClient, interfaces: dict[str, int], traced: TracedPath) -> None:
        self._client = client
        self._interfaces = interfaces
        self._traced = traced
        self._uplink = tags.uplink(traced.uplink.port_id)
        self._next_hop = traced.client

    def to_fip64(self) -> Outcome:
        return self._leads_to_fip64(f"show ip6 fib table {self._traced.uplink.table} "
                                    f"{self._traced.mapping.floating_ip}")

    def answer(self) -> Outcome:
        return self._leads_to_fip64(f"show ip fib table {self._traced.tenant.vlan} "
                                    f"{self._traced.pool_address}")

    def _leads_to_fip64(self, command: str) -> Outcome:
        try:
            answer = self._client.call("cli_inband", cmd=command).reply
        except VppError as error:
            raise NotReady(str(error)) from error
        if not answer.strip():
            raise PacketStopped(command, "VPP has no such table")
        last = answer.strip().splitlines()[-1].strip()  # of "forwarding:"
        if _FIP64 not in last:
            raise PacketStopped(command, f"leads to {last}, and not to {_FIP64}")
        return OK, command, last

    def to_vlan(self) -> Outcome:
        tenant = self._traced.tenant
        looked_at, via = self._route(tenant.vlan, self._traced.mapping.fixed_ip,
                                     tags.tenant(tenant.router_id))
        return OK, looked_at, f"via {via}, VLAN {tenant.vlan}"

    def back(self) -> Outcome:
        looked_at, via = self._route(self._traced.uplink.table, self._traced.client, self._uplink)
        if int(via):
            self._next_hop = via
        return OK, looked_at, f"via {via}" if int(via) else "on the link"

    def _route(self, table: int, address: IPv4Address | IPv6Address,
               expected: str) -> tuple[str, IPv4Address | IPv6Address]:
        """Look a route up, which must leave by the interface with the tag `expected`.

        Returns what was looked at, and the address of the next hop: 0 when the address is on the link.
        """
        looked_at = f"route of {address} in IPv{address.version} table {table}"
        try:
            route = self._client.call("ip_route_lookup", table_id=table, exact=0,
                                      prefix=ip_network(address)).route
        except VppError as error:
            raise PacketStopped(looked_at, f"no route: {error}") from error
        found = f"the route to {route.prefix}"
        path = route.paths[0] if route.paths else None
        if path is None or path.type in _DROP:
            raise PacketStopped(looked_at, f"{found} {_DROP.get(path.type) if path else 'leads nowhere'}")
        if path.sw_if_index != self._interfaces.get(expected):
            raise PacketStopped(looked_at, f"{found} leads to {self._name(path.sw_if_index)}, and not to "
                                           f"{expected}")
        return looked_at, path.nh.address.ip4 if address.version == 4 else path.nh.address.ip6

    def _name(self, index: int) -> str:
        if index == NO_INTERFACE:
            return "no interface"
        return next((tag for tag, number in self._interfaces.items() if number == index),
                    f"interface {index}")

    def neighbor(self) -> Outcome:
        looked_at = f"neighbor {self._next_hop} on {self._uplink}"
        try:
            known = self._client.dump("ip_neighbor_dump", sw_if_index=self._interfaces[self._uplink],
                                      af="ADDRESS_IP6")
        except (KeyError, VppError) as error:
            raise PacketStopped(looked_at, f"cannot be looked at: {error}") from error
        for entry in known:
            if entry.neighbor.ip_address == self._next_hop:
                return OK, looked_at, f"{entry.neighbor.mac_address}, confirmed {entry.age:.0f} s ago"
        return OK, looked_at, ("not known: VPP asks for it when the first packet is sent; if this does not "
                               "change, nobody answers its Neighbor Solicitations")
