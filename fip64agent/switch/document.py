# SPDX-License-Identifier: Apache-2.0
"""Prints doc/source/reference/pipeline.rst: ``python -m fip64agent.switch.document > ...``.

Everything on the page comes from the code; a test fails when the page is stale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.plan.desired import Gateway, Host, Mapping64, PlanObject, Tenant, Uplink
from fip64agent.plan.inputs import REDIRECT_EXTERNAL_NETWORKS
from fip64agent.switch import codec, pipeline, text
from fip64agent.switch.flows import flows_of

HOST = Host(nd_netns="fip64-nd",
            guarded=(IPv6Network("2001:db8:f::/64"), IPv6Network("fe80::1/128")),
            guarded_macs=("fa:16:3e:00:00:01",))
UPLINK = Uplink(
    port_id="1b2c3d4e-0000-4000-8000-000000000001", router_id="edge", network_id="uplink-net",
    interface="eth1", ofport=1, veth="ovs-1b2c3d4e",
    veth_ofport=11, peer="vpp-1b2c3d4e", mac="fa:16:3e:00:00:01", mtu=1500,
    addresses=(IPv6Interface("2001:db8:100::1/64"),), routes=(), table=101,
    onlink=(IPv6Network("2001:db8:100::/64"),), routed=(IPv6Network("2001:db8:f::/64"),), redirect="all",
    nd_netns="fip64-nd", nd_veth="ovs-nd-1b2c3d4e", nd_veth_ofport=14, nd_peer="nd-1b2c3d4e")
TENANT = Tenant(
    router_id="tenant-a", vlan=7, own_interface=True,
    interface="ovs-dl-7", mac="fa:16:3e:00:07:01",
    pool=IPv4Network("100.64.0.0/16"), address6=IPv6Address("2001:db8:100::1"), maps=(), interface_ofport=12)
MAPPING = Mapping64(
    fip_id="5f000000-0000-4000-8000-000000000001", floating_ip=IPv6Address("2001:db8:100::a"),
    fixed_ip=IPv4Address("10.0.0.5"), router_id="tenant-a", port_id="vm-a", uplink_id=UPLINK.port_id,
    on_link=True, nd_netns="fip64-nd", nd_peer="nd-1b2c3d4e", uplink_ofport=1,
    uplink_mac="fa:16:3e:00:00:01", vlan=7, downlink_ofport=12, downlink_vlan=None,
    downlink_mac="fa:16:3e:00:07:01", pool=IPv4Network("100.64.0.0/16"), vm_ofport=21,
    vm_mac="fa:16:3e:00:00:05", gateway_mac="fa:16:3e:00:00:fe")
GATEWAY = Gateway("vm-a", IPv4Address("10.0.0.1"), "fa:16:3e:00:00:fe", 21, "fa:16:3e:00:00:05", answers=True,
                  isolates=True)

EXAMPLES: tuple[tuple[str, str, tuple[PlanObject, ...]], ...] = (
    ("Once per host", "As soon as the host has one uplink. The flows with ``conjunction:...:2/2`` are what "
     "no VM port with a floating IP may send: more 802.1Q tags than Open vSwitch looks behind, the MAC of an "
     "uplink, IPv6 and Neighbor Discovery in the name of uplinks, gateways and floating IPs, here with the "
     "routed prefix 2001:db8:f::/64 and the gateway fe80::1. With those per VM port (``1/2``) they make up "
     "``conj_id``.", (HOST,)),
    ("Per uplink", "Interface ``eth1`` is OpenFlow port 1, the veth to the translator is port 11, the "
     "Neighbor Discovery link is port 14. With ``[ovs] redirect = all``:", (UPLINK,)),
    ("Per uplink, external networks only", "With ``[ovs] redirect = external-networks``. The translator "
     "gets what is sent to the uplink's address and to external networks, and its own Neighbor Discovery:",
     (dataclasses.replace(UPLINK, redirect=REDIRECT_EXTERNAL_NETWORKS),)),
    ("Per uplink that is a bond", "The interfaces are OpenFlow ports 1 and 2, and 2 is the active member. "
     "Packets come in by any; they leave by the first of the bundle that is up.",
     (dataclasses.replace(UPLINK, members=(2, 1)),)),
    ("Per tenant", "Where each tenant has a veth of its own, here port 12.", (TENANT,)),
    ("Per floating IP", "Floating IP 2001:db8:100::a for the VM with 10.0.0.5 at port 21.", (MAPPING,)),
    ("Per floating IP, with a shared downlink", "Where all tenants share one veth, here port 13; "
     "the 802.1Q tag tells the tenant.",
     (dataclasses.replace(MAPPING, downlink_ofport=13, downlink_vlan=7, on_link=False),)),
    ("Per on-link floating IP, external networks only", "Redirected by itself: other machines of the "
     "uplink's network may be plugged into the bridge.",
     (dataclasses.replace(MAPPING, redirect_ofport=11, nd_ofport=14),)),
    ("Per gateway of a VM port", "The answer to ARP unless ``[ovs] answer_arp`` is off. The VM port's part "
     "of what it must not send: once per port, and not for a port whose network an uplink serves.",
     (GATEWAY,)),
)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], widths: str) -> Iterator[str]:
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield f"   :widths: {widths}"
    yield ""
    for row in (header, *rows):
        for number, cell in enumerate(row):
            yield f"   {'* -' if number == 0 else '  -'} {cell}"
    yield ""


def _title(title: str, mark: str) -> Iterator[str]:
    yield from (title, mark * len(title), "")


def _code(content: str) -> str:
    return f"``{content.replace(',', ', ')}``"


def _flows(objects: Iterable[PlanObject]) -> Iterator[str]:
    rows = []
    for obj in objects:
        for flow in flows_of(obj):
            item = codec.encode(flow)
            rows.append((flow.kind.feature, pipeline.table_name(flow.table), flow.priority,
                         _code(text.match_text(item.match)) if item.match else "any packet",
                         _code(text.instructions_text(item.instructions))))
    yield from _table(("Feature", "Table", "Priority", "Match", "Actions"), rows, "10 14 8 34 34")


def lines() -> Iterator[str]:
    """Yield the page."""
    yield ".. Made by python -m fip64agent.switch.document; do not edit."
    yield ""
    yield from _title("OpenFlow pipeline", "=")
    yield from ("The flows that fip64-agent keeps in the bridge. ``fip64ctl flow list`` shows them,",
                "with these names. Flows of other systems are neither changed nor removed: where one of",
                "them has the table, priority and match of a flow of ours, ours is not installed and is",
                "reported.", "")
    yield from _title("Tables", "-")
    yield from _table(("Number", "Name", "Purpose"),
                      [(number, name, pipeline.TABLE_PURPOSES[number])
                       for number, name in pipeline.TABLES.items()], "10 25 65")
    yield from _title("Registers", "-")
    if pipeline.REGISTERS:
        yield from _table(("Register", "Meaning"), pipeline.REGISTERS.items(), "20 80")
    else:
        yield from ("None is used.", "")
    yield from _title("Priorities in the classifier", "-")
    yield from _table(("Priority", "Flows"), pipeline.PRIORITIES.items(), "20 80")
    yield from _title("Cookie", "-")
    yield from ("The cookie says that a flow is ours, what it is for and whom it serves. All flows of ours:",
                f"``ovs-ofctl dump-flows BRIDGE cookie=0x{pipeline.COOKIE_VALUE:x}"
                f"/0x{pipeline.COOKIE_MASK:x}``.", "")
    yield from _table(("Bits", "Field", "Value"), pipeline.COOKIE_LAYOUT, "12 22 66")
    yield from _title("Features", "-")
    yield from _table(("Number", "Feature", "What it does"),
                      [(int(kind), kind.feature, what) for kind, what in pipeline.FEATURES.items()],
                      "10 20 70")
    yield from _title("Flows", "-")
    for title, words, objects in EXAMPLES:
        yield from _title(title, "~")
        yield from (words, "")
        yield from _flows(objects)


def page() -> str:
    return "\n".join(line.rstrip() for line in lines()).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
