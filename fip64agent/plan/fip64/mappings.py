# SPDX-License-Identifier: Apache-2.0
"""From a floating IP that this host serves to its mapping, and to the gateway that its VM port sees."""

from __future__ import annotations

import dataclasses

from fip64agent.plan.base.host import GUARDED
from fip64agent.plan.base.routers import PREFIXES
from fip64agent.plan.base.uplinks import SERVING
from fip64agent.plan.fip64.hosted import HOSTED, Hosted
from fip64agent.plan.fip64.objects import Gateway, Mapping64
from fip64agent.plan.fip64.tenants import DOWNLINKS, VLANS, no_vlan
from fip64agent.plan.inputs import REDIRECT_EXTERNAL_NETWORKS, SETTINGS
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.problems import Problem


def _mapping(ask, fip_id: str, hosted: Hosted | Problem) -> tuple[Mapping64 | None, Problem | None]:
    if type(hosted) is not Hosted:
        return None, hosted
    fip, vm, gateway, connection = hosted
    uplink = connection.uplink
    downlink = ask(DOWNLINKS, fip.router_id)
    if downlink is None:
        return None, no_vlan(ask, fip.router_id)
    on_link = fip.floating_network_id == uplink.network_id
    redirected_alone = on_link and uplink.redirect == REDIRECT_EXTERNAL_NETWORKS
    return Mapping64(
        fip_id=fip_id, floating_ip=fip.floating_ip_address, fixed_ip=fip.fixed_ip_address,
        router_id=fip.router_id, port_id=fip.port_id, uplink_id=uplink.port_id,
        on_link=on_link, uplink_ofport=uplink.active_ofport, uplink_mac=uplink.mac,
        table=uplink.table, uplink_members=uplink.members and tuple(sorted(uplink.members)),
        redirect_ofport=uplink.veth_ofport if redirected_alone else None,
        nd_ofport=uplink.nd_veth_ofport if redirected_alone else None,
        nd_netns=uplink.nd_netns, nd_peer=uplink.nd_peer,
        vlan=downlink.vlan, downlink_ofport=downlink.ofport, downlink_vlan=downlink.tag,
        downlink_mac=downlink.mac, pool=downlink.pool,
        vm_ofport=vm.interface.ofport, vm_mac=vm.mac, gateway_mac=gateway.mac,
        filtered_network=vm.filtered_network), vm.problem


MAPPINGS = Objects(Mapping64.kind, _mapping, each=HOSTED, reads=(DOWNLINKS, VLANS.all))


# Gateways

@dataclasses.dataclass(frozen=True, slots=True)
class _VmNetwork:
    """What all VM ports of a network have in common."""

    answers: bool
    isolates: bool


def _vm_network(ask, network_id: str) -> _VmNetwork:
    # A network whose own IPv6 is of an uplink's prefixes too could not use it.
    own = ask(PREFIXES, network_id)
    isolates = ask(SERVING, network_id) is None and not any(
        prefix.overlaps(other) for prefix in own for other in (ask(GUARDED, "") if own else ()))
    return _VmNetwork(ask(SETTINGS, "").answer_arp, isolates)


_VM_NETWORKS = Derived("network of VM ports", _vm_network, (PREFIXES, SERVING, GUARDED, SETTINGS))


def _port_of(fip_id: str, hosted: Hosted | Problem) -> tuple[tuple[str, Hosted], ...]:
    return ((hosted.fip.port_id, hosted),) if type(hosted) is Hosted else ()


def _by_fip(found: tuple[Hosted, ...] | None, gone: list[Hosted],
            come: list[Hosted]) -> tuple[Hosted, ...] | None:
    left = {hosted.fip.id: hosted for hosted in found or ()}
    for hosted in gone:
        del left[hosted.fip.id]
    left.update((hosted.fip.id, hosted) for hosted in come)
    return tuple(left[fip_id] for fip_id in sorted(left)) or None


HOSTED_BY_PORT = Collected("floating IPs of a VM port", {HOSTED: _port_of}, _by_fip)
"""By VM port id: Hosted of each of its floating IPs, in the order of their ids."""


def _gateways(ask, port_id: str, served: tuple[Hosted, ...]) -> tuple[tuple[Gateway, ...], None]:
    """Return one gateway for each address of one; the lowest floating IP's if routers share an address."""
    vm = served[0].vm
    network = ask(_VM_NETWORKS, vm.network_id)
    isolates = network.isolates
    found: dict[str, Gateway] = {}
    for hosted in served:
        seen = hosted.gateway
        if seen.text not in found and ask(DOWNLINKS, hosted.fip.router_id) is not None:
            found[seen.text] = Gateway(port_id, seen.address, seen.mac, vm.interface.ofport, vm.mac,
                                       network.answers, isolates)
            isolates = False
    return tuple(found.values()), None


GATEWAYS = Objects(Gateway.kind, _gateways, each=HOSTED_BY_PORT, reads=(_VM_NETWORKS, DOWNLINKS))
