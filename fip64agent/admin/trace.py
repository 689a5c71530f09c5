# SPDX-License-Identifier: Apache-2.0
"""Follows a packet from a client to a floating IP and back, and says where it would stop.

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
    Outcome,
    PacketStopped,
    TracedPath,
)

KIND = Mapping64.kind
"""The kind of the objects that packets are sent to."""
CLIENT_MAC = "02:00:00:00:00:0c"
"""Source MAC address of packets that come in by the uplink. No flow matches on it, so any will do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """The result of one check, as the operator gets it."""

    name: str
    title: str
    result: str
    """OK, NOTE (the packet goes on, but somebody should look at this), STOP or NOT_REACHED."""
    looked_at: str = ""
    """The component that was asked, and the question."""
    detail: str = ""
    """What was found there."""


class PacketTrace:
    """One packet's trace. The checks that belong to no room are methods of this class."""

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
        self.packet: TracedPath | None = None
        """None when the floating IP is not in the plan of this host."""
        if self.mapping and self.uplink and self.tenant and self.client:
            self.packet = TracedPath(self.client, self.uplink, self.tenant, self.mapping,
                                     min(self.mapping.pool[-2], self.tenant.pool_last))

    def run(self) -> list[Step]:
        """Make the checks in the order of the packet's way; those after one that stops it are not made."""
        steps, stopped = [], False
        for check in self.checks():
            if stopped:
                steps.append(Step(check.name, check.title, NOT_REACHED))
                continue
            try:
                steps.append(Step(check.name, check.title, *check.look()))
            except PacketStopped as stop:
                steps.append(Step(check.name, check.title, STOP, stop.looked_at, str(stop)))
                stopped = True
            except (Fip64Error, OSError) as error:
                steps.append(Step(check.name, check.title, STOP, "", f"cannot be looked at: {error}"))
                stopped = True
        return steps

    def checks(self) -> list[Check]:
        """Return all checks, in the order of the packet's way."""
        links, translator = (self.agent.rooms[name].explain(self.packet) if self.packet else Explanation()
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
        if self.packet is None:
            raise PacketStopped(where, f"{state.state}: {state.reason}")
        text = f"{self.mapping.floating_ip} -> {self.mapping.fixed_ip} of router {self.mapping.router_id}"
        if state.state != ACTIVE:
            return NOTE, where, f"{text}; {state.state}: {state.reason}"
        return OK, where, f"{text}; active"

    def _ports(self) -> Outcome:
        mapping, uplink, tenant = self.mapping, self.uplink, self.tenant
        vm = self.states.interface_of(mapping.vm_ofport)
        where = f"OVS interfaces of port {mapping.port_id} and uplink {uplink.port_id}"
        if vm is None:
            raise PacketStopped(where, f"no interface has OpenFlow port {mapping.vm_ofport}: the VM was "
                                       "unplugged")
        for name, ofport in ((uplink.veth, uplink.veth_ofport), (uplink.nd_veth, uplink.nd_veth_ofport),
                             (tenant.interface, mapping.downlink_ofport)):
            if ofport is None:
                error = getattr(self.states.interfaces.get(name), "error", None)
                raise PacketStopped(where, f"Open vSwitch has not opened {name}"
                                           + (f": {error}" if error else ""))
        return OK, where, (f"VM {vm} ({mapping.vm_ofport}), uplink {self._uplink_named()}, "
                           f"to the translator {uplink.veth} ({uplink.veth_ofport}) and "
                           f"{tenant.interface} ({mapping.downlink_ofport})")

    # -- flows ------------------------------------------------------------------------------

    def _ask_ovs(self, in_port: int, packet: bytes, expected: int,
                 what: str) -> tuple[str, ovstrace.FlowTrace]:
        """Ask Open vSwitch which flows the packet matches; one of them must output it to port `expected`.

        Returns what was looked at, and the flows. Raises: PacketStopped when it goes elsewhere or nowhere.
        """
        looked_at = f"ofproto/trace in_port={in_port}: {what}"
        flows = ovstrace.parse(self.agent.rooms["switch"].trace(in_port, packet))
        if expected in flows.outputs:
            return looked_at, flows
        if flows.normal:
            ended = f"no flow of ours matches, and it is switched as NORMAL; {flows}"
        elif flows.outputs:
            ended = f"it goes to {self._ports_named(flows.outputs)}; {flows}"
        else:
            ended = f"dropped: {flows}"
        raise PacketStopped(looked_at, f"does not reach {self._ports_named([expected])}: {ended}")

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
        looked_at, flows = self._ask_ovs(
            mapping.uplink_ofport, packets.neighbor_solicitation(source, CLIENT_MAC, mapping.floating_ip),
            uplink.nd_veth_ofport, f"Neighbor Solicitation for {mapping.floating_ip}")
        return OK, looked_at, f"to {self._ports_named([uplink.nd_veth_ofport])}; {flows}"

    def _redirect(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        packet = packets.udp6(CLIENT_MAC, mapping.uplink_mac, self.client, mapping.floating_ip)
        looked_at, flows = self._ask_ovs(uplink.active_ofport, packet, uplink.veth_ofport,
                                         f"UDP {self.client} -> {mapping.floating_ip}")
        return OK, looked_at, f"to {self._ports_named([uplink.veth_ofport])}; {flows}"

    def _deliver(self) -> Outcome:
        mapping, pool_address = self.mapping, self.packet.pool_address
        packet = packets.udp4(mapping.downlink_mac, mapping.vm_mac, pool_address, mapping.fixed_ip,
                              vlan_id=mapping.downlink_vlan)
        looked_at, flows = self._ask_ovs(mapping.downlink_ofport, packet, mapping.vm_ofport,
                                         f"UDP {pool_address} -> {mapping.fixed_ip}")
        if f"dl_dst={mapping.vm_mac}" not in flows.final_flow:
            raise PacketStopped(looked_at, f"reaches the VM's port, but not with its MAC {mapping.vm_mac}")
        return OK, looked_at, f"to {self._ports_named([mapping.vm_ofport])}; {flows}"

    def _arp(self) -> Outcome:
        mapping = self.mapping
        gateways = self.states.parts_of((Gateway.kind, mapping.port_id))
        if not self.agent.conf.ovs.answer_arp:
            return NOTE, "[ovs] answer_arp", "switched off: another system must answer the VM's ARP requests"
        if not gateways:
            return NOTE, "the plan", "no gateway address is known: another system must answer ARP"
        for gateway in gateways:
            packet = packets.arp_request(mapping.vm_mac, mapping.fixed_ip, gateway.address)
            looked_at, flows = self._ask_ovs(mapping.vm_ofport, packet, mapping.vm_ofport,
                                             f"ARP request for {gateway.address}")
        return OK, looked_at, f"answered with {gateways[-1].mac}; {flows}"

    def _answer(self) -> Outcome:
        mapping, pool_address = self.mapping, self.packet.pool_address
        packet = packets.udp4(mapping.vm_mac, mapping.gateway_mac, mapping.fixed_ip, pool_address,
                              packets.SERVER_PORT, packets.CLIENT_PORT)
        looked_at, flows = self._ask_ovs(mapping.vm_ofport, packet, mapping.downlink_ofport,
                                         f"UDP {mapping.fixed_ip} -> {pool_address}")
        return OK, looked_at, f"to {self._ports_named([mapping.downlink_ofport])}; {flows}"

    def _uplink(self) -> Outcome:
        mapping, uplink = self.mapping, self.uplink
        packet = packets.udp6(mapping.uplink_mac, CLIENT_MAC, mapping.floating_ip, self.client,
                              packets.SERVER_PORT, packets.CLIENT_PORT)
        looked_at, flows = self._ask_ovs(uplink.veth_ofport, packet, uplink.active_ofport,
                                         f"UDP {mapping.floating_ip} -> {self.client}")
        return OK, looked_at, f"to {self._uplink_named()}; {flows}"


def trace(agent, fip_id: str, client: str | None = None, live: float | None = None) -> dict[str, Any]:
    """Follow a packet from `client` (an IPv6 address; by default one on the uplink's link) and back.

    `live`: seconds to wait for real packets as well. Returns the answer of the admin API, ready for JSON.
    Raises: ValueError when `client` is no IPv6 unicast address.
    """
    address = None
    if client is not None:
        try:
            address = IPv6Address(client)
        except ValueError:
            raise ValueError(f"client {client!r} is not an IPv6 address") from None
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            raise ValueError(f"client {client} is not an address that a client can have")
    traced = PacketTrace(agent, fip_id, address)
    steps = traced.run()
    handled = problem = None
    if live is not None and traced.packet is not None:
        try:
            handled = [{"seconds": each.at, "lines": list(each.lines)}
                       for each in agent.rooms["translator"].watch(traced.packet, live)]
        except NotReady as error:
            problem = str(error)
    return {
        "fip": fip_id,
        "floating_ip_address": listing_of(KIND).label(traced.states, fip_id),
        "fixed_ip_address": str(traced.mapping.fixed_ip) if traced.mapping else None,
        "client": str(traced.client) if traced.client else None,
        "reachable": all(step.result in (OK, NOTE) for step in steps),
        "stops_at": next((step.name for step in steps if step.result == STOP), None),
        "steps": [dataclasses.asdict(step) for step in steps],
        "live_seconds": live,
        "live_problem": problem,
        "seen": handled,
    }
