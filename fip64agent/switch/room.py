# SPDX-License-Identifier: Apache-2.0
"""The room of Open vSwitch: our ports on the bridge and our flows in it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan import allocate
from fip64agent.plan.desired import Desired, Host, ObjectKey, PlanObject
from fip64agent.plan.inputs import Allocations, Datapath, Interface
from fip64agent.switch import appctl, features, pipeline, refusals, text, wanted, zone_limits
from fip64agent.switch.announce import Announcer
from fip64agent.switch.connection import bundle, codec, datapath, meters, monitor, packet_in
from fip64agent.switch.connection.app import Connection
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.flooding import Floods
from fip64agent.switch.connection.meters import MeterItem, Meters
from fip64agent.switch.flows.default import default
from fip64agent.switch.flows.deliver import deliver
from fip64agent.switch.installed import Installed
from fip64agent.switch.ovsdb import OvsdbClient
from fip64agent.switch.ovsdb_replica import OwnPort
from fip64agent.switch.packets import PacketIns
from fip64agent.switch.periodic import Sender
from fip64agent.switch.ports import PortItem, Ports
from fip64agent.switch.wanted import Faulty
from fip64agent.switch.zone_limits import ZoneLimitItem

LOG = logging.getLogger(__name__)

START_WAIT = 2.0
"""Seconds that start() waits for the OpenFlow connection; later it comes up in the background."""


SwitchItem = PortItem | MeterItem | ZoneLimitItem | FlowItem | Faulty
_DEFAULT = codec.encode(next(default(Host())))
"""The one flow that counts as installed when another system has one in its place."""


class SwitchRoom:
    """Installs and reads back our ports, meters and flows of one bridge.

    `ovsdb_connection`, `run_path`: of Open vSwitch. `timeout`: seconds in which it must answer.
    `probe_interval`: seconds between two read-backs because of changes by others, at least.
    `on_change`: called when what is installed may have changed.
    `on_interfaces`: called with all interfaces of the bridge when they have changed.
    `on_datapath`: called after each connection to the bridge with what its datapath can do.
    `packet_in_rate`, `packet_in_burst`: packets a second, and at once, that one port may send to one service.
    """

    name = "switch"

    def __init__(self, ovsdb_connection: str, run_path: str, bridge: str, *, timeout: float = 10,
                 probe_interval: float = 2, packet_in_rate: int = 200, packet_in_burst: int = 50,
                 on_change: Callable[[], None] = lambda: None,
                 on_interfaces: Callable[[Mapping[str, Interface]], None] = lambda interfaces: None,
                 on_datapath: Callable[[Datapath], None] = lambda datapath: None) -> None:
        self._run_path = run_path
        self._bridge = bridge
        self._probe_interval = probe_interval
        self._packet_in_rate, self._packet_in_burst = packet_in_rate, packet_in_burst
        self._on_change, self._on_interfaces = on_change, on_interfaces
        self._on_datapath = on_datapath
        self._ovsdb = OvsdbClient(ovsdb_connection, bridge, self._take_interfaces, timeout,
                                  self._on_own_ports, self._on_state)
        self._connection = Connection(f"{run_path}/{bridge}.mgmt", timeout, self._on_connected,
                                      self._take_unsolicited, self._ovsdb.why_down,
                                      lambda message: self._packet_ins.take(message))
        self._packet_ins = PacketIns(self._connection.send)
        self._sender = Sender(self._connection.send)
        self._announcer = Announcer(self._connection)
        self._floods = Floods(self._connection.path, bridge, timeout)
        self._ports = Ports(self._ovsdb, self._floods)
        self._installed = Installed(self._connection)
        self._meters = Meters(self._connection)
        self._busy = hub.Semaphore()
        self._watch_thread = None
        self._changed_by_others = hub.Event()
        """Set when others have changed flows that concern us since flows were last read."""
        self._limitations: dict[str, str] = {}
        """{what was asked for: that this Open vSwitch does not do it, as a sentence}"""
        self._provided_by_others: dict[Hashable, FlowItem] = {}
        """_DEFAULT, when a flow of another system has its key."""

    @classmethod
    def from_conf(cls, conf, on_change: Callable[[], None] = lambda: None,
                  on_interfaces: Callable[[Mapping[str, Interface]], None] = lambda _: None,
                  on_datapath: Callable[[Datapath], None] = lambda _: None) -> SwitchRoom:
        return cls(conf.ovs.ovsdb_connection, conf.ovs.run_path, conf.ovs.bridge, timeout=conf.ovs.timeout,
                   probe_interval=conf.reconcile.probe_interval, packet_in_rate=conf.ovs.packet_in_rate,
                   packet_in_burst=conf.ovs.packet_in_burst, on_change=on_change, on_interfaces=on_interfaces,
                   on_datapath=on_datapath)

    # -- start and stop ---------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, now or as soon as ovsdb-server and the bridge exist: ready() says what is missing."""
        self._packet_ins.start()
        self._ovsdb.start()
        self._connection.start()
        if self._ovsdb.why_down() is None:
            self._connection.wait_up(START_WAIT)
        else:
            self._on_change()
        self._announcer.start()
        self._sender.start()
        self._watch_thread = hub.spawn(self._watch_forever)

    def close(self) -> None:
        """Disconnect. What is installed stays."""
        if self._watch_thread is not None:
            self._watch_thread.kill()
            self._watch_thread = None
        self._sender.close()
        self._announcer.close()
        self._packet_ins.close()
        self._connection.close()
        self._ovsdb.close()

    def disconnect(self) -> None:
        """Drop the OpenFlow connection; it comes back by itself."""
        self._connection.disconnect()

    def missing(self) -> str | None:
        """Return what OVSDB lacks for us to work: its server, the bridge, or an OpenFlow version of it."""
        return self._ovsdb.why_down()

    def ready(self) -> str | None:
        return self.missing() or self._connection.why_down()

    # -- the plan's objects to items ----------------------------------------------------------------

    def expand(self, obj: PlanObject) -> Iterator[SwitchItem]:
        yield from wanted.items(obj, self._packet_in_rate, self._packet_in_burst)
        yield from zone_limits.wanted(obj)

    # -- reading back ---------------------------------------------------------------------------------

    def actual(self) -> dict[Hashable, SwitchItem]:
        with self._busy:
            result: dict[Hashable, SwitchItem] = dict(self._ports.read())
            result.update(self._meters.read())
            result.update(hub.offload(zone_limits.read, self._run_path, self._ovsdb.datapath_type()))
            self._changed_by_others.clear()
            flows = self._installed.read()
            for key in [key for key, flow in flows.items() if self._meters.missing(flow.instructions)]:
                # It has to be added again: with this cookie, which none of ours has, it differs.
                flows[key] = dataclasses.replace(flows[key], cookie=0)
            result.update(flows)
            # Only while there are other flows of ours: it is wanted together with them.
            provided = flows and self._installed.foreign(_DEFAULT.key)
            self._provided_by_others = {_DEFAULT.key: _DEFAULT} if provided else {}
            result.update(self._provided_by_others)
            return result

    def allocations(self) -> Allocations:
        """Return the numbers that objects have by flows that are installed; none while it cannot be asked."""
        try:
            return self._installed.allocations() if self.ready() is None else Allocations()
        except NotReady:
            return Allocations()

    # -- changing ---------------------------------------------------------------------------------------

    def apply(self, items: Sequence[tuple[SwitchItem | None, SwitchItem]]) -> dict[Hashable, str]:
        with self._busy:
            failed = self._ports.add([item for _, item in items if isinstance(item, PortItem)])
            failed |= self._meters.change(list({
                item.key: (meters.ADD if was is None else meters.MODIFY, item)
                for was, item in items if isinstance(item, MeterItem)}.values()))
            failed |= self._limit_zones([item for _, item in items if isinstance(item, ZoneLimitItem)])
            failed |= {item.key: item.reason for _, item in items if isinstance(item, Faulty)}
            flows = []
            for was, item in items:
                if not isinstance(item, FlowItem):
                    continue
                if self._meters.missing(item.instructions):
                    failed[item.key] = "a meter that it needs does not exist"
                else:
                    flows.append((was, item))
            if flows:
                failed.update(self._add_flows(flows))
            return failed

    def _limit_zones(self, limits: Sequence[ZoneLimitItem], gone: Sequence[ZoneLimitItem] = ()
                     ) -> dict[Hashable, str]:
        if not limits and not gone:
            return {}
        return hub.offload(zone_limits.change, self._run_path, self._ovsdb.datapath_type(), limits, gone)

    def _add_flows(self, flows: Sequence[tuple[FlowItem | None, FlowItem]]) -> dict[Hashable, str]:
        taken = self._installed.taken_by_others([item for was, item in flows
                                                 if was is None or was.key in self._provided_by_others])
        failed: dict[Hashable, str] = {}
        wanted = []
        for _was, item in flows:
            key = item.key
            if key not in taken:
                self._provided_by_others.pop(key, None)
                wanted.append(item)
                continue
            self._installed.note_taken(key)
            if key == _DEFAULT.key:
                self._provided_by_others[key] = item
            else:
                failed[key] = ("another system has a flow with the same table, priority and match; "
                               "it is left alone")
        self._installed.add(wanted)  # before they are added: others may change one at once
        refused = bundle.change(self._connection, bundle.ADD, wanted)
        self._installed.discard(refused)
        for item in wanted:
            if item.announcements and item.key not in refused:
                self._announcer.announce(item.key, item.announcements)
        failed.update(refused)
        return failed

    def prune(self, items: Sequence[SwitchItem]) -> dict[Hashable, str]:
        with self._busy:
            flows = []
            for item in items:
                if not isinstance(item, FlowItem):
                    continue
                key = item.key
                self._announcer.cancel(key)
                if self._provided_by_others.pop(key, None) is None:
                    flows.append(item)
            failed: dict[Hashable, str] = {}
            if flows:
                failed = bundle.change(self._connection, bundle.DELETE, flows)
                self._installed.discard(item.key for item in flows if item.key not in failed)
            # After the flows: with a meter the switch removes the flows that use it.
            failed |= self._meters.change([(meters.DELETE, item) for item in items
                                           if isinstance(item, MeterItem)])
            failed |= self._limit_zones((), [item for item in items if isinstance(item, ZoneLimitItem)])
            failed |= self._ports.remove([item for item in items if isinstance(item, PortItem)])
            return failed

    def plan_changed(self, before: Desired, after: Desired) -> None:
        """Give services the new objects, and announce what is behind a bond with another active member."""
        self._packet_ins.plan_changed(before, after)
        self._sender.plan_changed(before, after)
        self._announce_failovers(before, after)

    def _announce_failovers(self, before: Desired, after: Desired) -> None:
        """Announce the on-link floating IPs of uplinks whose bond has another active member.

        Their flows stay as they are. The uplink's own addresses are announced with its flow, which changes.
        """
        for port_id, uplink in after.uplinks.items():
            was = before.uplinks.get(port_id)
            if (was is None or not (was.members and uplink.members)
                    or was.active_ofport == uplink.active_ofport):
                continue
            # By the keys of the flows that let them in: cancel() is called with those.
            found = [flow for mapping in after.mappings.values() if mapping.uplink_id == port_id
                     for flow in deliver(mapping) if flow.announcements]
            LOG.info("uplink %s leaves by another member of its bond, OpenFlow port %d: %d on-link floating "
                     "IPs are announced there", port_id, uplink.active_ofport, len(found))
            for flow in found:
                self._announcer.announce(codec.encode(flow).key, flow.announcements)

    # -- changes by others ------------------------------------------------------------------------------

    def _on_state(self) -> None:
        """Handle that something which we need in OVSDB has appeared or disappeared."""
        self._connection.retry()
        self._on_change()

    def _on_connected(self) -> None:
        """Ask for packets, for reports of changed flows and what the datapath can do; have all read back."""
        try:
            reply = self._connection.request(lambda xid: [packet_in.config_request(xid)])
            flags = packet_in.config_flags(next(iter(reply.bodies.values()), [b""])[0])
            reply = self._connection.request(
                lambda xid: [*packet_in.setup_messages(xid, flags),
                             monitor.request(xid + packet_in.SETUP_MESSAGES, features.tables())],
                packet_in.SETUP_MESSAGES + 1)
            self._on_datapath(datapath.ask(self._connection, self._ovsdb.datapath_type()))
        except NotReady:
            self._connection.disconnect()  # the next connection asks again
            return
        self._limitations.clear()
        for xid, reason in reply.errors.items():
            if xid == reply.last:
                self._note_limitation(
                    "changes", f"Open vSwitch does not report changes of flows ({reason}; it does since "
                    "2.16): what others change is found by the audit only")
            else:
                self._note_limitation(
                    "packets", f"Open vSwitch does not send packets to the agent ({reason}): what flows "
                    "cannot answer is not answered")
        self._on_change()

    def _note_limitation(self, what: str, remark: str) -> None:
        self._limitations[what] = remark
        LOG.warning("%s", remark)

    def _take_interfaces(self, interfaces: Mapping[str, Interface]) -> None:
        self._packet_ins.ports_changed({interface.ofport: name for name, interface in interfaces.items()
                                        if interface.ofport is not None})
        self._on_interfaces(interfaces)

    def _on_own_ports(self, own: Mapping[str, OwnPort]) -> None:
        hub.spawn(self._check_ports)  # it waits until a change by the agent itself is complete

    def _check_ports(self) -> None:
        with self._busy:
            changed = self._ports.changed()
        if changed:
            self._on_change()

    def _take_unsolicited(self, message: bytes) -> bool:
        """Take a report of the flow monitor."""
        if not monitor.is_report(message):
            return False
        if self._changed_by_others.is_set():  # all flows are going to be read anyway
            return True
        try:
            if self._installed.concerns_us(message):
                self._changed_by_others.set()
        except codec.CodecError:
            LOG.exception("a report of changed flows cannot be read")
            self._changed_by_others.set()
        return True

    def _watch_forever(self) -> None:
        while True:
            self._changed_by_others.wait()
            LOG.warning("another program changed flows of bridge %s that concern us", self._bridge)
            self._changed_by_others.clear()
            self._on_change()
            hub.sleep(self._probe_interval)  # others may continue, and reading all flows takes time

    # -- for the operator -----------------------------------------------------------------------------------

    def warnings(self) -> list[str]:
        """Return what does not work, with the consequences, as sentences. All else works."""
        return [remark for remark in (*self._limitations.values(), self._floods.problem,
                                      *self._packet_ins.warnings()) if remark]

    def packet_in_counters(self) -> dict[tuple[int, str], int]:
        """Return how many packets came to the agent, by (OpenFlow port, name of a counter in packets.py)."""
        return self._packet_ins.counters()

    def refused_packets(self) -> dict[tuple[int, str], int]:
        """Return how many packets of VMs were refused, by (OpenFlow port, reason). Raises: NotReady."""
        return hub.offload(refusals.counters, self._installed.dump(refusals.REFUSED))

    def dump(self, owners: Iterable[ObjectKey] = ()) -> list[dict[str, Any]]:
        """Return our flows as text, with their counters. Raises: NotReady.

        `owners`: keys of the plan's objects, to name the owners of flows: a cookie has only a CRC-32 of them.
        """
        names = {allocate.checksum(owner): pipeline.owner_text(owner) for owner in owners}
        return hub.offload(_describe, self._installed.dump(), names)

    def trace(self, in_port: int | str, packet: bytes) -> str:
        """Return what ovs-vswitchd would do with `packet` (bytes from Ethernet on) from `in_port`.

        Raises: NotReady, appctl.AppctlError.
        """
        return hub.offload(appctl.call, self._run_path, "ofproto/trace", self._bridge,
                           f"in_port={in_port}", packet.hex())


def _describe(bodies: Sequence[bytes], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return our flows as text. names: {CRC-32 of an owner: its text}."""
    result = []
    for body in bodies:
        for stats in codec.decode_items(body):
            item = stats.item
            number, owner = pipeline.decode_cookie(item.cookie) or (0, 0)
            result.append({
                "table": features.table_name(item.table),
                "feature": features.feature_name(number) or "unknown",
                "priority": item.priority, "cookie": f"0x{item.cookie:016x}",
                "owner": names.get(owner, f"{owner:08x}"),
                "match": text.match_text(item.match), "actions": text.instructions_text(item.instructions),
                "packets": stats.packets, "bytes": stats.bytes})
    result.sort(key=lambda row: (row["table"], -row["priority"], row["feature"], row["match"]))
    return result

