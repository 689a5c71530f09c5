# SPDX-License-Identifier: Apache-2.0
"""An agent whose rooms keep their items in dictionaries; topology, plan() and the loop are real."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address

from oslo_config import cfg

from fip64agent import conf as options
from fip64agent.exceptions import NotReady
from fip64agent.links.explain import explain as explain_links
from fip64agent.links.gateways import Reachability
from fip64agent.plan.inputs import Interface
from fip64agent.plan.planner import plan
from fip64agent.reconcile.explain import Explanation
from fip64agent.reconcile.loop import Loop
from fip64agent.translator import Choice
from fip64agent.translator.base import About, ClientBinding, TracedPacket, Traffic
from fip64agent.translator.explain import check_client_binding, check_installed
from fip64agent.translator.tayga.links import TaygaLayout
from tests.fakes import topologies


@dataclasses.dataclass(frozen=True)
class Thing:
    """One item per object of the plan."""

    key: str
    value: object
    owner: tuple = dataclasses.field(default=(), compare=False)

    def __str__(self) -> str:
        return self.key


class ScriptedRoom:
    def __init__(self, name: str) -> None:
        self.name = name
        self.installed: dict[str, Thing] = {}
        self.down: str | None = None
        self.refuses: dict[str, str] = {}
        self.remarks: list[str] = []

    def warnings(self) -> list[str]:
        return self.remarks

    def ready(self) -> str | None:
        return self.down

    def expand(self, obj):
        yield Thing(f"{self.name} of {' '.join(obj.key)}", obj, obj.key)

    def actual(self) -> dict[str, Thing]:
        return dict(self.installed)

    def apply(self, items) -> dict[str, str]:
        failed = {item.key: self.refuses[item.key] for _was, item in items if item.key in self.refuses}
        self.installed.update({item.key: item for _was, item in items if item.key not in failed})
        return failed

    def explain(self, traced) -> Explanation:
        return Explanation()

    def prune(self, items) -> dict[str, str]:
        failed = {item.key: self.refuses[item.key] for item in items if item.key in self.refuses}
        for item in items:
            if item.key not in failed:
                self.installed.pop(item.key, None)
        return failed


class ScriptedLinks(ScriptedRoom):
    """Its items are scripted; what it says of a packet's way is what the kernel says."""

    def __init__(self) -> None:
        super().__init__("links")
        self.layout = TaygaLayout("fip64-")

    def explain(self, traced) -> Explanation:
        return explain_links(self.layout, traced)


class ScriptedSwitch(ScriptedRoom):
    def __init__(self) -> None:
        super().__init__("switch")
        self.flows: list[dict] = []
        self.traces: dict[int, str] = defaultdict(str)
        """OpenFlow port -> what ofproto/trace answers."""
        self.packet_ins: dict[tuple[int, str], int] = {}
        self.refused: dict[tuple[int, str], int] = {}

    def refused_packets(self) -> dict[tuple[int, str], int]:
        if self.down:
            raise NotReady(self.down)
        return self.refused

    def packet_in_counters(self) -> dict[tuple[int, str], int]:
        return self.packet_ins

    def dump(self) -> list[dict]:
        if self.down:
            raise NotReady(self.down)
        return self.flows

    def trace(self, in_port: int, packet: bytes) -> str:
        if self.down:
            raise NotReady(self.down)
        return self.traces[in_port]


class ScriptedTranslator(ScriptedRoom):
    def __init__(self) -> None:
        super().__init__("translator")
        self.kind = "tayga"
        self.bindings: dict[str, list[ClientBinding]] = {}
        self.trouble: str | None = None
        self.program = About(launch="managed")
        self.counted: Traffic | None = None
        self.seen: list[TracedPacket] = []

    def netns(self, router_id: str) -> str:
        return f"fip64-{router_id}"

    def about(self) -> About:
        return self.program

    def traffic(self) -> Traffic | None:
        if self.down:
            raise NotReady(self.down)
        return self.counted

    def bind(self, router_id: str, client: str, pool_address: str, last_seen: float | None = None,
             static: bool = False) -> None:
        binding = ClientBinding(router_id, IPv6Address(client), IPv4Address(pool_address), last_seen, static)
        self.bindings.setdefault(router_id, []).append(binding)

    def clients(self, router_id: str) -> list[ClientBinding]:
        return self.bindings.get(router_id, [])

    def counters(self) -> dict[str, dict[str, int]]:
        return {name: {"clients": len(bindings), "drops": 7} for name, bindings in self.bindings.items()}

    def healthy(self) -> str | None:
        return self.trouble

    def explain(self, traced) -> Explanation:
        return Explanation(there=(check_installed(self, traced), check_client_binding(self, traced)))

    def watch(self, traced, seconds: float) -> list[TracedPacket]:
        if not self.seen:
            raise NotReady("tayga shows no packets")
        return self.seen


class ScriptedGateways:
    """All answer since the epoch, but those in `known`."""

    def __init__(self) -> None:
        self.known: dict[str, Reachability | None] = {}
        """Address -> what is known of it."""

    def reachability(self, uplink, address: IPv6Address) -> Reachability | None:
        return self.known.get(str(address), Reachability(True, 0.0))


class ScriptedAgent:
    """Two tenants "red" and "blue" with a VM and a floating IP each, all of it active after settle()."""

    def __init__(self, socket: str = "/nowhere/admin.sock") -> None:
        self.conf = cfg.ConfigOpts()
        options.register_opts(self.conf)
        self.conf([], default_config_files=[])
        self.conf.set_override("host", "node-1")
        self.conf.set_override("socket", socket, "admin")
        self.started_at = time.time() - 100
        self.site = topologies.two_tenant_site()
        self.rooms = {"links": ScriptedLinks(), "translator": ScriptedTranslator(),
                      "switch": ScriptedSwitch()}
        self.loop = Loop(list(self.rooms.values()))
        self.inputs = None
        self.topology_error = None
        self.topology_path = "/etc/fip64agent/topology.yaml"
        self.topology_loaded_at: float | None = None
        self.gateways = ScriptedGateways()
        self.metrics = None
        self.choice = Choice("tayga", "[fip64] translator = tayga")

    def plan(self) -> None:
        """Plan the site as it is now; the loop has not carried it out yet."""
        self.topology_loaded_at = time.time()
        self.inputs = self.site.inputs
        self.loop.submit(plan(self.inputs))

    def open_veths(self) -> None:
        """Let Open vSwitch "open" the agent's own veths, as it does after the links were made."""
        desired = plan(self.site.inputs)
        wanted = [name for uplink in desired.uplinks.values() for name in uplink.veths]
        wanted += [tenant.interface for tenant in desired.tenants.values()]
        for number, name in enumerate(wanted, 501):
            if name not in self.site.interfaces:
                self.site.add(Interface(name, number))

    def settle(self) -> ScriptedAgent:
        """Plan and carry out all of it."""
        self.open_veths()
        self.plan()
        self.loop.step()
        return self
