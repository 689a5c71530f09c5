# SPDX-License-Identifier: Apache-2.0
"""Walks a packet from a client to a floating IP and back, and says where it would stop.

Every step asks what really decides: Open vSwitch about its flows (ofproto/trace, with a packet as
it would be on the wire), and the other rooms about what they install (reconcile.explain).
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv6Address
from typing import Any

from fip64agent.admin import ovstrace, packets
from fip64agent.admin.listing import listing_of
from fip64agent.admin.state import States
from fip64agent.exceptions import Fip64Error, NotReady
from fip64agent.plan.desired import ACTIVE, Gateway, Mapping64, Tenant, Uplink
from fip64agent.reconcile.explain import (
    NOT_REACHED,
    NOTE,
    OK,
    STOP,
    Check,
    Explanation,
    Journey,
    Outcome,
    Stops,
)

KIND = Mapping64.kind
"""Of the objects that packets are sent to."""
CLIENT_MAC = "02:00:00:00:00:0c"
"""Source of what comes in by the uplink: the client's or the upstream router's. Flows do not look at it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    name: str
    title: str
    result: str
    """OK, NOTE (goes on, but look at it), STOP or NOT_REACHED."""
    looked_at: str = ""
    detail: str = ""


class _Walk:
    """One trace: its own checks are its methods."""

    def __init__(self, agent, fip_id: str, client: IPv6Address | None) -> None:
        self.agent = agent
        self.states = States(agent)
        self.fip_id = fip_id
        self.client = client
        self.mapping: Mapping64 | None = self.states.object(KIND, fip_id)
        self.uplink: Uplink | None = None
        self.tenant: Tenant | None = None
        if self.mapping is not None:
            self.uplink = self.states.object(Uplink.kind, self.mapping.uplink_id)
            self.tenant = self.states.object(Tenant.kind, self.mapping.router_id)
        if self.client is None and self.uplink is not None and self.uplink.onlink:
            prefix = self.uplink.onlink[0]
            self.client = prefix[-2] if prefix.num_addresses > 2 else prefix[0]
        self.journey: Journey | None = None
        if self.mapping and self.uplink and self.tenant and self.client:
            self.journey = Journey(self.client, self.uplink, self.tenant, self.mapping,
                                   min(self.mapping.pool[-2], self.tenant.pool_last))

    def run(self) -> list[Step]:
        steps, stopped = [], False
        for check in self.checks():
            if stopped:
                steps.append(Step(check.name, check.title, NOT_REACHED))
                continue
            try:
                steps.append(Step(check.name, check.title, *check.look()))
            except Stops as stop:
                steps.append(Step(check.name, check.title, STOP, stop.looked_at, str(stop)))
                stopped = True
            except (Fip64Error, OSError) as error:
                steps.append(Step(check.name, check.title, STOP, "", f"cannot be looked at: {error}"))
                stopped = True
        return steps

    def checks(self) -> list[Check]:
        links, translator = (self.agent.rooms[name].explain(self.journey) if self.journey else Explanation()
                             for name in ("links", "translator"))
        return [
            Check("fip", "the floating IP is known here", self._fip),
            Check("ports", "VM port and uplink are bound on this host", self._ports),
            Check("neighbor", "solicitations for its address go to the link that answers", self._neighbor),
            *links.before,
            Check("redirect", "IPv6 from the uplink goes to the translator", self._redirect),
            *links.there,
            *translator.there,
            Check("deliver", "IPv4 from the translator goes to the VM", self._deliver),
            Check("arp", "the VM resolves its gateway", self._arp),
            Check("answer", "the VM's answer goes to the translator", self._answer),
            *translator.back,
            *links.back,
            Check("uplink", "IPv6 from the translator leaves by the uplink", self._uplink),
        ]

    # -- what is known ----------------------------------------------------------------------

    def _fip(self) -> Outcome:
        state = self.states.state(KIND, self.fip_id)
        where = f"floating IP {self.fip_id} in the plan"
        if self.journey is None:
            raise Stops(where, f"{state.state}: {state.reason}")
        text = f"{self.mapping.floating_ip} -> {self.mapping.fixed_ip} of router {self.mapping.router_id}"
        if state.state != ACTIVE:
            return NOTE, where, f"{text}; {state.state}: {state.reason}"
        return OK, where, f"{text}; active"

    def _ports(self) -> Outcome:
        mapping, uplink, tenant = self.mapping, self.uplink, self.tenant
        vm = self.states.interface_of(mapping.vm_ofport)
        where = f"OVS interfaces of port {mapping.port_id} and uplink {uplink.port_id}"
        if vm is None:
            raise Stops(where, f"no interface has OpenFlow port {mapping.vm_ofport}: the VM was unplugged")
        for name, ofport in ((uplink.veth, uplink.veth_ofport), (uplink.nd_veth, uplink.nd_veth_ofport),
                             (tenant.interface, mapping.downlink_ofport)):
            if ofport is None:
                error = getattr(self.states.interfaces.get(name), "error", None)
                raise Stops(where, f"Open vSwitch has not opened {name}" + (f": {error}" if error else ""))
        return OK, where, (f"VM {vm} ({mapping.vm_ofport}), uplink {self._uplink_named()}, "
                           f"to the translator {uplink.veth} ({uplink.veth_ofport}) and "
                           f"{tenant.interface} ({mapping.downlink_ofport})")

    # -- flows ------------------------------------------------------------------------------

    def _trace(self, in_port: int, packet: bytes, expected: int, what: str) -> tuple[str, ovstrace.Walk]:
        """Send a packet through the flows; it must be output to port `expected`, by a flow that says so."""
        looked_at = f"ofproto/trace in_port={in_port}: {what}"
        walk = ovstrace.read(self.agent.rooms["switch"].trace(in_port, packet))
        if expected in walk.outputs:
            return looked_at, walk
        if walk.normal:
            ended = f"no flow of ours matches, and it is switched as NORMAL; {walk}"
        elif walk.outputs:
            ended = f"it goes to {self._ports_named(walk.outputs)}; {walk}"
        else:
            ended = f"dropped: {walk}"
        raise Stops(looked_at, f"does not reach {self._ports_named([expected])}: {ended}")

    def _ports_named(self, ofports) -> str:
        return ", ".join(f"{self.states.interface_of(port) or 'port'} ({port})" for port in ofports)

    def _uplink_named(self) -> str:
        uplink = self.uplink
        if not uplink.members:
            return f"{uplink.interface} ({uplink.ofport})"
        active, *others = uplink.members
        name = self.states.interfaces[uplink.interface].bond
        rest = f", or {self._ports_named(others)} when that is down" if others else ""
        return f"bond {name}: {self._ports_named([active])}{rest}"

    def _neighbor(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        if not mapping.on_link:
            addresses = ", ".join(str(address.ip) for address in uplink.addresses)
            return OK, "the plan", (f"{mapping.floating_ip} is routed, not on-link: the upstream router must "
                                    f"have a route to it via the uplink ({addresses})")
        source = self.client if any(self.client in prefix for prefix in uplink.onlink) \
            else IPv6Address("fe80::1")
        looked_at, walk = self._trace(
            mapping.uplink_ofport, packets.neighbor_solicitation(source, CLIENT_MAC, mapping.floating_ip),
            uplink.nd_veth_ofport, f"Neighbor Solicitation for {mapping.floating_ip}")
        return OK, looked_at, f"to {self._ports_named([uplink.nd_veth_ofport])}; {walk}"

    def _redirect(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        packet = packets.udp6(CLIENT_MAC, mapping.uplink_mac, self.client, mapping.floating_ip)
        looked_at, walk = self._trace(uplink.active_ofport, packet, uplink.veth_ofport,
                                      f"UDP {self.client} -> {mapping.floating_ip}")
        return OK, looked_at, f"to {self._ports_named([uplink.veth_ofport])}; {walk}"

    def _deliver(self) -> Outcome:
        mapping, pool_address = self.mapping, self.journey.pool_address
        packet = packets.udp4(mapping.downlink_mac, mapping.vm_mac, pool_address, mapping.fixed_ip,
                              vlan_id=mapping.downlink_vlan)
        looked_at, walk = self._trace(mapping.downlink_ofport, packet, mapping.vm_ofport,
                                      f"UDP {pool_address} -> {mapping.fixed_ip}")
        if f"dl_dst={mapping.vm_mac}" not in walk.final_flow:
            raise Stops(looked_at, f"reaches the VM's port, but not with its MAC {mapping.vm_mac}")
        return OK, looked_at, f"to {self._ports_named([mapping.vm_ofport])}; {walk}"

    def _arp(self) -> Outcome:
        mapping = self.mapping
        gateways = self.states.under((Gateway.kind, mapping.port_id))
        if not self.agent.conf.ovs.answer_arp:
            return NOTE, "[ovs] answer_arp", "switched off: another system must answer the VM's ARP requests"
        if not gateways:
            return NOTE, "the plan", "no gateway address is known: another system must answer ARP"
        for gateway in gateways:
            packet = packets.arp_request(mapping.vm_mac, mapping.fixed_ip, gateway.address)
            looked_at, walk = self._trace(mapping.vm_ofport, packet, mapping.vm_ofport,
                                          f"ARP request for {gateway.address}")
        return OK, looked_at, f"answered with {gateways[-1].mac}; {walk}"

    def _answer(self) -> Outcome:
        mapping, pool_address = self.mapping, self.journey.pool_address
        packet = packets.udp4(mapping.vm_mac, mapping.gateway_mac, mapping.fixed_ip, pool_address,
                              packets.SERVER_PORT, packets.CLIENT_PORT)
        looked_at, walk = self._trace(mapping.vm_ofport, packet, mapping.downlink_ofport,
                                      f"UDP {mapping.fixed_ip} -> {pool_address}")
        return OK, looked_at, f"to {self._ports_named([mapping.downlink_ofport])}; {walk}"

    def _uplink(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        packet = packets.udp6(mapping.uplink_mac, CLIENT_MAC, mapping.floating_ip, self.client,
                              packets.SERVER_PORT, packets.CLIENT_PORT)
        looked_at, walk = self._trace(uplink.veth_ofport, packet, uplink.active_ofport,
                                      f"UDP {mapping.floating_ip} -> {self.client}")
        return OK, looked_at, f"to {self._uplink_named()}; {walk}"


def trace(agent, fip_id: str, client: str | None = None, live: float | None = None) -> dict[str, Any]:
    """Walk a packet from `client` (an IPv6 address; by default one on the uplink's link) and back.

    `live`: seconds to wait for real packets as well. Raises: ValueError when `client` is no IPv6 unicast
    address.
    """
    address = None
    if client is not None:
        try:
            address = IPv6Address(client)
        except ValueError:
            raise ValueError(f"client {client!r} is not an IPv6 address") from None
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            raise ValueError(f"client {client} is not an address that a client can have")
    walk = _Walk(agent, fip_id, address)
    steps = walk.run()
    handled = problem = None
    if live is not None and walk.journey is not None:
        try:
            handled = [{"seconds": each.at, "lines": list(each.lines)}
                       for each in agent.rooms["translator"].watch(walk.journey, live)]
        except NotReady as error:
            problem = str(error)
    return {
        "fip": fip_id,
        "floating_ip_address": listing_of(KIND).label(walk.states, fip_id),
        "fixed_ip_address": str(walk.mapping.fixed_ip) if walk.mapping else None,
        "client": str(walk.client) if walk.client else None,
        "reachable": all(step.result in (OK, NOTE) for step in steps),
        "stops_at": next((step.name for step in steps if step.result == STOP), None),
        "steps": [dataclasses.asdict(step) for step in steps],
        "live_seconds": live,
        "live_problem": problem,
        "seen": handled,
    }
