# SPDX-License-Identifier: Apache-2.0
"""Which served ports of a network have which of its IPv6 addresses."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from fip64agent.net.addresses import link_local
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.ports.bound import NETWORK_NUMBERS
from fip64agent.plan.ports.objects import Holder, ServedAddress, ServedPort
from fip64agent.plan.ports.served import SERVED_PORTS

Place = tuple[str, IPv6Address]
"""(network id, address)"""
Claim = tuple[bool, int, str]
"""(whether the port is only allowed to use it, OpenFlow port, MAC): in this order they are sorted."""


def _claims(port_id: str, port: ServedPort) -> Iterator[tuple[Place, Claim]]:
    """Yield the addresses that a port is known to have.

    Its link-local address may be another than the one made of its MAC (RFC 7217): that one is not known, and
    solicitations for it go to all ports of the network.
    """
    for address in dict.fromkeys((*port.addresses, link_local(port.mac))):
        yield (port.network_id, address), (False, port.ofport, port.mac)
    for pair in dict.fromkeys(port.pairs):
        if pair.prefix.prefixlen == pair.prefix.max_prefixlen:
            yield (port.network_id, pair.prefix.network_address), (True, port.ofport, pair.mac)


_CLAIMS = Collected("who has an address", {SERVED_PORTS: _claims})
"""By (network id, address): Claims, sorted."""


def _holders(ask, place: Place) -> tuple[Holder, ...]:
    return tuple(dict.fromkeys(Holder(ofport, mac) for _, ofport, mac in ask(_CLAIMS, place)))


ADDRESS_HOLDERS = Derived("holders of an address", _holders, (_CLAIMS,))
"""By (network id, address): Holders, as ServedAddress has them; () when no served port has it."""


def _address(ask, place: Place, claims: tuple[Claim, ...]) -> tuple[tuple[ServedAddress], None]:
    network_id, address = place
    return (ServedAddress(network_id, ask(NETWORK_NUMBERS.number, network_id), address,
                          _holders(ask, place)),), None


ADDRESSES = Objects(ServedAddress.kind, _address, each=_CLAIMS, reads=(NETWORK_NUMBERS.number, _CLAIMS))
