# SPDX-License-Identifier: Apache-2.0
"""A client, two VMs and a private Open vSwitch around a translator.

Flows made here stand for the switch room's: they put in destination MACs, and the tenant's VLAN where tenants
share a link.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv6Interface
from pathlib import Path

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from fip64agent.links.room import LinksRoom
from fip64agent.plan.desired import Host, Mapping64, Tenant, Uplink
from fip64agent.translator import driver
from fip64agent.translator.base import Translator
from lab import netns as namespaces
from lab.node import Node
from lab.openvswitch import PrivateOvs
from lab.shell import run
from tests.fakes import planned
from tests.fakes.kernel import converge

BRIDGE = "br-site"
CLIENT = "2001:db8:f::100"
VM = "10.0.0.5"
FIP_A, FIP_B, FIP_C = "2001:db8:f::a", "2001:db8:f::b", "2001:db8:f::c"
GATEWAY_MAC = "fa:16:3e:00:00:fe"


class Site:
    """`make_translator(on_change)` makes the driver under test; `translator` is its name in the plan."""

    def __init__(self, prefix: str, directory: Path, translator: str,
                 make_translator: Callable[[Callable[[], None]], Translator]) -> None:
        self.prefix = prefix
        self.kind = translator
        self.agent = prefix.rstrip("-")
        self._make_translator = make_translator
        self.ovs = PrivateOvs(directory / "ovs", netns=self.agent)
        self.directory = directory
        self.changes = 0
        self.links = LinksRoom(prefix, driver(translator).layout(prefix))
        self.rooms: list = [self.links]
        self.room = self.new_room()
        self.host: Host = planned.host(prefix, translator)
        self.uplink: Uplink = planned.uplink(prefix)
        self.nodes: dict[str, Node] = {}
        self.bindings: dict[str, tuple] = {}
        """By tenant: its static client bindings."""

    # -- the surroundings -----------------------------------------------------------------------

    def start(self) -> None:
        self.ovs.start()
        self.ovs.add_bridge(BRIDGE)
        self.ovs.ofctl("del-flows", BRIDGE)
        self.client = self._node("client", IPv6Interface(f"{CLIENT}/64"))
        self.vms = {name: self._node(name, None) for name in ("blue", "green")}
        for number, vm in enumerate(self.vms.values()):
            vm.mac = f"fa:16:3e:00:00:{number + 1:02x}"
            vm.ip(f"link set eth0 address {vm.mac}", f"addr add {VM}/24 dev eth0",
                  f"neigh add 10.0.0.1 lladdr {GATEWAY_MAC} dev eth0 nud permanent",
                  "route add default via 10.0.0.1")
            vm.serve()

    def _node(self, name: str, address) -> Node:
        """Add a machine with eth0 on the bridge, port <name>."""
        node = Node(name, f"{self.agent}{name}", self.directory)
        namespaces.add(node.netns)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", node.netns)
        namespaces.sysctl(node.netns, ipv6__conf__eth0__accept_dad=0)
        node.ip("link set eth0 up", *([f"addr add {address} dev eth0 nodad"] if address else []))
        run("ip", "link", "set", name, "up")
        namespaces.offloads_off(node.netns, "eth0")
        namespaces.offloads_off(None, name)
        self.ovs.vsctl("add-port", BRIDGE, name)
        self.nodes[name] = node
        return node

    def stop(self) -> None:
        for node in self.nodes.values():
            node.close()
        for room in self.rooms:
            room.close()
        self.ovs.stop()

    # -- the rooms ------------------------------------------------------------------------------

    def _changed(self) -> None:
        self.changes += 1

    def new_room(self) -> Translator:
        room = self._make_translator(self._changed)
        self.rooms.append(room)
        room.start()
        assert room.ready() is None
        return room

    def tenant(self, name: str, vlan: int, fips: Sequence[str]) -> Tenant:
        """A tenant whose only VM is `name`. A VM with several floating IPs would need several addresses."""
        maps = {VM: fips[0]} if fips else {}
        maps |= {f"10.0.0.{6 + number}": fip for number, fip in enumerate(fips[1:])}
        changes: dict = {"bindings": self.bindings.get(name, ())}
        if self.kind == "vpp":
            changes |= {"own_interface": False, "interface": self.host.downlink,
                        "mac": self.host.downlink_mac}
        return planned.tenant(name, vlan, maps, **changes)

    def mapping(self, tenant: Tenant, fip: str) -> Mapping64:
        return planned.mapping(tenant, fip, next(str(fixed) for fixed, of in tenant.maps if str(of) == fip))

    def install(self, **fips: Sequence[str]) -> tuple[dict, int]:
        """Bring both rooms to tenants with these floating IPs; returns failures and number of items touched.

        In the loop's order: links, translator; and the removals the other way round.
        """
        tenants = [self.tenant(name, number, fips[name])
                   for number, name in enumerate(("blue", "green"), 7) if name in fips]
        objects = [self.host, self.uplink, *tenants,
                   *(self.mapping(tenant, fip) for tenant in tenants for fip in fips[tenant.router_id])]
        gone = [item for key, item in self.room.actual().items()
                if key not in {item.key for obj in objects for item in self.room.expand(obj)}]
        failed = self.room.prune(gone) if gone else {}
        touched = len(gone)
        for room in (self.links, self.room):
            more, count = converge(room, *objects)
            failed |= more
            touched += count
        self._wire(tenants)
        return failed, touched

    # -- packets of the test's own --------------------------------------------------------------

    def delivered(self, name: str, last: bytes, *packets: Packet) -> list[bytes]:
        """Put IPv6 packets on the client's wire as they are, to the uplink; return what that VM gets.

        Until a frame with `last` in it is there: what was sent before that one has come before it.
        """
        def opened(protocol: int) -> socket.socket:
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
            wire.bind(("eth0", protocol))
            wire.settimeout(5)
            return wire

        seen: list[bytes] = []
        with namespaces.call_in(self.vms[name].netns, opened, 0x0800) as vm, \
                namespaces.call_in(self.client.netns, opened, 0x0003) as client:
            for packet in packets:
                client.send(bytes(Ether(src="02:00:00:00:00:77", dst=self.uplink.mac) / packet))
            while not seen or last not in seen[-1]:
                seen.append(vm.recv(65536))
        return seen

    def _wire(self, tenants: Sequence[Tenant]) -> None:
        links = [self.uplink.veth, *dict.fromkeys(tenant.interface for tenant in tenants)]
        for link in links:
            self.ovs.vsctl("--may-exist", "add-port", BRIDGE, link)
        flows = [f"in_port=client,actions=output:{self.uplink.veth}",
                 f"in_port={self.uplink.veth},actions=output:client"]
        for tenant in tenants:
            vm = self.vms[tenant.router_id]
            tag, match, pop = "", "", ""
            if self.kind == "vpp":
                tag = f"push_vlan:0x8100,set_field:{0x1000 | tenant.vlan}->vlan_vid,"
                match, pop = f"dl_vlan={tenant.vlan},", "pop_vlan,"
            flows += [f"{match}in_port={tenant.interface},ip,actions={pop}set_field:{vm.mac}->eth_dst,"
                      f"set_field:{GATEWAY_MAC}->eth_src,output:{vm.name}",
                      f"in_port={vm.name},ip,actions=set_field:{tenant.mac}->eth_dst,{tag}"
                      f"output:{tenant.interface}"]
        self.ovs.ofctl("replace-flows", BRIDGE, "-", input="\n".join(flows))  # leaves alone what stays
        # The switch answers Neighbor Solicitations for floating IPs with the uplink's MAC.
        self.client.ip(*(f"neigh replace {fip} lladdr {self.uplink.mac} dev eth0 nud permanent"
                         for fip in (FIP_A, FIP_B, FIP_C)))
