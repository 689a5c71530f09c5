# SPDX-License-Identifier: Apache-2.0
"""The tables that a packet of a served port goes through, in their order, and the registers it carries.

Other systems that are known use tables below 100, and above 200. A packet comes in by the classifier, which
loads the registers; features add flows to a table, and what none of these takes goes on to the next table.
"""

from __future__ import annotations

from fip64agent.plan.ports.bound import FIRST_NETWORK, LAST_NETWORK
from fip64agent.switch.flows.flow import Action, Load, Match, Resubmit
from fip64agent.switch.pipeline import REG_REASON, Register, Table

PORT_SECURITY, TRACK_OUT, GROUPS_OUT, SERVICES, ROUTER, ROUTE = range(170, 176)
NEIGHBOR, L2, TRACK_IN, GROUPS_IN, OUTPUT, AGENT = range(176, 182)

NEXT = {PORT_SECURITY: TRACK_OUT, TRACK_OUT: GROUPS_OUT, GROUPS_OUT: SERVICES, SERVICES: ROUTER, ROUTER: L2,
        TRACK_IN: OUTPUT, GROUPS_IN: OUTPUT}
"""Where what no other flow takes goes on, by table. From the others it goes nowhere: it is dropped."""

FIRST_ZONE, LAST_ZONE = FIRST_NETWORK, LAST_NETWORK
"""Conntrack zones: each network has its number."""

_OF_VM, _TO_VM = "from the VM", "to the VM"

TABLES = (
    Table(PORT_SECURITY, "port-security", _OF_VM, "What no VM may send.",
          "What the packet is: messages of routers and DHCPv6 servers, headers that hide what it is.",
          "IPv6: source-mac; else track-out."),
    Table(TRACK_OUT, "track-out", _OF_VM, "To conntrack, in the zone of its network.",
          "The port, if it has security groups.", "groups-out."),
    Table(GROUPS_OUT, "groups-out", _OF_VM, "Security groups, from the VM.",
          "The port, the state of the connection, and what the rules say.", "services."),
    Table(SERVICES, "services", "services", "What the agent answers for others.",
          "Messages of Neighbor Discovery and the like.", "Back to the port, agent, output, or router."),
    Table(ROUTER, "router", "routing", "What is sent to a router.",
          "The network and a router's MAC.", "route; else l2."),
    Table(ROUTE, "route", "routing", "The routes of a router.",
          "The router and the destination: a longer prefix has a higher priority.",
          "neighbor, an uplink, or agent."),
    Table(NEIGHBOR, "neighbor", "routing", "Who has an address, after routing.",
          "The network that it goes to, and the destination.", "track-in, or agent."),
    Table(L2, "l2", "switching", "Who has a MAC, and who gets multicast.",
          "The network and the destination MAC.", "track-in, NORMAL."),
    Table(TRACK_IN, "track-in", _TO_VM, "To conntrack, in the zone of the destination's network.",
          "The destination, if it has security groups.", "groups-in; without security groups output."),
    Table(GROUPS_IN, "groups-in", _TO_VM, "Security groups, to the VM.",
          "The destination, the state of the connection, and what the rules say.", "output."),
    Table(OUTPUT, "output", _TO_VM, "Out of the port that was chosen.", "The network.", "The port."),
    Table(AGENT, "agent", "services", "To the agent, by the meter of the port.",
          "The port, and the feature whose service the packet is for.", "The agent."),
)

REG_NETWORK, REG_PORT, REG_DESTINATION, REG_ROUTER, REG_FEATURE, REG_TOO_BIG = (
    "reg0", "reg1", "reg2", "reg3", "reg5", "reg6")

REGISTERS = (
    Register(REG_NETWORK, "Number of the network that the packet is on."),
    Register(REG_PORT, "OpenFlow port of the VM that sent it; 0: the agent did, or it came from elsewhere."),
    Register(REG_DESTINATION, "OpenFlow port that it is for."),
    Register(REG_ROUTER, "Number of the router that it goes through."),
    Register(REG_FEATURE, "Number of the feature whose service it is for, on the way to the agent."),
    Register(REG_REASON, "Why it is on the way to the agent, where a service must know; why it is refused."),
    Register(REG_TOO_BIG, "1: it is larger than the MTU of the network that it was routed to."),
)


def load(register: str, value: int) -> Load:
    """Return the action that sets a whole register."""
    return Load(register, value, 32)


def to_port(ofport: int, table: int) -> tuple[Action, ...]:
    """Return the actions that choose a destination and go on in `table`."""
    return load(REG_DESTINATION, ofport), Resubmit(table)


def of_agent(ofport: int, feature: int) -> Match:
    """Return the match, in the table AGENT, for what a port sends to the service of a feature."""
    return (REG_PORT, ofport), (REG_FEATURE, feature)


def to_agent(feature: int) -> tuple[Action, ...]:
    """Return the actions that hand a packet to the service of the feature with this number.

    The feature has a flow for each port in the table AGENT, with that port's meter.
    """
    return load(REG_FEATURE, feature), Resubmit(AGENT)
