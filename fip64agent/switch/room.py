# SPDX-License-Identifier: Apache-2.0
"""The room of Open vSwitch: our ports on the bridge and our flows in it."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import Desired, Host, ObjectKey, PlanObject
from fip64agent.plan.inputs import Interface
from fip64agent.switch import appctl, features, pipeline, ports, text
from fip64agent.switch.announce import Announcer
from fip64agent.switch.connection import bundle, codec, meters, monitor, packet_in
from fip64agent.switch.connection.app import Connection
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.connection.flooding import Floods
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.flows.default import default
from fip64agent.switch.flows.deliver import deliver
from fip64agent.switch.flows.flow import Controller
from fip64agent.switch.installed import Installed
from fip64agent.switch.ovsdb import OvsdbClient
from fip64agent.switch.ovsdb_replica import OwnPort
from fip64agent.switch.packets import PacketIns
from fip64agent.switch.ports import PortItem, Ports

LOG = logging.getLogger(__name__)

START_WAIT = 2.0
"""Seconds that start() waits for the OpenFlow connection before it goes on without."""


SwitchItem = PortItem | MeterItem | FlowItem
_DEFAULT = codec.encode(next(default(Host())))
"""The one flow that counts as installed when another system has one in its place."""


class SwitchRoom:
    """Ports, meters and flows. `on_change`: what is installed may not be what was installed.

    `packet_in_rate`, `packet_in_burst`: packets a second, and at once, that one port may send to one service.
    """

    name = "switch"

    def __init__(self, ovsdb_connection: str, run_path: str, bridge: str, *, timeout: float = 10,
                 probe_interval: float = 2, packet_in_rate: int = 200, packet_in_burst: int = 50,
                 on_change: Callable[[], None] = lambda: None,
                 on_interfaces: Callable[[Mapping[str, Interface]], None] = lambda interfaces: None) -> None:
        self._run_path = run_path
        self._bridge = bridge
        self._probe_interval = probe_interval
        self._packet_in_rate, self._packet_in_burst = packet_in_rate, packet_in_burst
        self._on_change = on_change
        self._ovsdb = OvsdbClient(ovsdb_connection, bridge, on_interfaces, timeout, self._on_own_ports,
                                  self._on_state)
        self._connection = Connection(f"{run_path}/{bridge}.mgmt", timeout, self._on_connected, self._unasked,
                                      self._ovsdb.why_down, lambda message: self._packet_ins.take(message))
        self._packet_ins = PacketIns(self._connection.send)
        self._announcer = Announcer(self._connection)
        self._floods = Floods(self._connection.path, bridge, timeout)
        self._ports = Ports(self._ovsdb, self._floods)
        self._installed = Installed(self._connection)
        self._busy = hub.Semaphore()
        self._watch_thread = None
        self._disturbed = hub.Event()
        """Others changed flows that concern us since they were last read."""
        self._remarks: dict[str, str] = {}
        """What this Open vSwitch does not do for us, by what it was asked for."""
        self._satisfied: dict[Hashable, FlowItem] = {}

    @classmethod
    def from_conf(cls, conf, on_change: Callable[[], None] = lambda: None,
                  on_interfaces: Callable[[Mapping[str, Interface]], None] = lambda _: None) -> SwitchRoom:
        return cls(conf.ovs.ovsdb_connection, conf.ovs.run_path, conf.ovs.bridge, timeout=conf.ovs.timeout,
                   probe_interval=conf.reconcile.probe_interval, packet_in_rate=conf.ovs.packet_in_rate,
                   packet_in_burst=conf.ovs.packet_in_burst, on_change=on_change, on_interfaces=on_interfaces)

    # -- start and stop ---------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, now or as soon as ovsdb-server and the bridge are there: ready() says what is missing."""
        self._packet_ins.start()
        self._ovsdb.start()
        self._connection.start()
        if self._ovsdb.why_down() is None:
            self._connection.wait_up(START_WAIT)
        else:
            self._on_change()
        self._announcer.start()
        self._watch_thread = hub.spawn(self._watch_forever)

    def close(self) -> None:
        """Disconnect. What is installed stays."""
        if self._watch_thread is not None:
            self._watch_thread.kill()
            self._watch_thread = None
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
        yield from ports.wanted(obj)
        for flow in features.flows_of(obj):
            for action in flow.actions:
                if isinstance(action, Controller) and action.meter is not None:
                    yield MeterItem(action.meter, self._packet_in_rate, self._packet_in_burst, obj.key)
            yield codec.encode(flow)

    # -- reading back ---------------------------------------------------------------------------------

    def actual(self) -> dict[Hashable, SwitchItem]:
        with self._busy:
            result: dict[Hashable, SwitchItem] = dict(self._ports.read())
            result.update(meters.read(self._connection))
            self._disturbed.clear()
            flows = self._installed.read()
            result.update(flows)
            # It is wanted together with all other flows of ours.
            stands_in = flows and self._installed.foreign(_DEFAULT.key)
            self._satisfied = {_DEFAULT.key: _DEFAULT} if stands_in else {}
            result.update(self._satisfied)
            return result

    # -- changing ---------------------------------------------------------------------------------------

    def apply(self, items: Sequence[tuple[SwitchItem | None, SwitchItem]]) -> dict[Hashable, str]:
        with self._busy:
            failed = self._ports.add([item for _, item in items if isinstance(item, PortItem)])
            failed |= meters.change(self._connection, list({
                item.key: (meters.ADD if was is None else meters.MODIFY, item)
                for was, item in items if isinstance(item, MeterItem)}.values()))
            flows = [(was, item) for was, item in items if isinstance(item, FlowItem)]
            if flows:
                failed.update(self._add_flows(flows))
            return failed

    def _add_flows(self, flows: Sequence[tuple[FlowItem | None, FlowItem]]) -> dict[Hashable, str]:
        taken = self._installed.taken_by_others([item for was, item in flows
                                                 if was is None or was.key in self._satisfied])
        failed: dict[Hashable, str] = {}
        wanted = []
        for _was, item in flows:
            key = item.key
            if key not in taken:
                self._satisfied.pop(key, None)
                wanted.append(item)
                continue
            self._installed.give_up(key)
            if key == _DEFAULT.key:
                self._satisfied[key] = item
            else:
                failed[key] = ("another system has a flow with the same table, priority and match; "
                               "it is left alone")
        self._installed.add(wanted)  # first: others may change one at once
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
                if self._satisfied.pop(key, None) is None:
                    flows.append(item)
            failed: dict[Hashable, str] = {}
            if flows:
                failed = bundle.change(self._connection, bundle.DELETE, flows)
                self._installed.discard(item.key for item in flows if item.key not in failed)
            # After the flows: a flow goes with a meter that it needs.
            failed |= meters.change(self._connection, [(meters.DELETE, item) for item in items
                                                       if isinstance(item, MeterItem)])
            failed |= self._ports.remove([item for item in items if isinstance(item, PortItem)])
            return failed

    def plan_changed(self, before: Desired, after: Desired) -> None:
        """Give services the new objects, and announce what is behind a bond with another active member."""
        self._packet_ins.follow(before, after)
        self._announce_failovers(before, after)

    def _announce_failovers(self, before: Desired, after: Desired) -> None:
        """Tell the link where on-link floating IPs are, of uplinks whose bond has another active member.

        Their flows stay as they are. The uplink's own addresses are announced with its flow, which changes.
        """
        for port_id, uplink in after.uplinks.items():
            was = before.uplinks.get(port_id)
            if (was is None or not (was.members and uplink.members)
                    or was.active_ofport == uplink.active_ofport):
                continue
            # By the keys of the flows that let them in: what goes with these is not announced any more.
            found = [flow for mapping in after.mappings.values() if mapping.uplink_id == port_id
                     for flow in deliver(mapping) if flow.announcements]
            LOG.info("uplink %s leaves by another member of its bond, OpenFlow port %d: %d on-link floating "
                     "IPs are announced there", port_id, uplink.active_ofport, len(found))
            for flow in found:
                self._announcer.announce(codec.encode(flow).key, flow.announcements)

    # -- changes by others ------------------------------------------------------------------------------

    def _on_state(self) -> None:
        """Something that we need in OVSDB is there now, or is not any more."""
        self._connection.retry()
        self._on_change()

    def _on_connected(self) -> None:
        """Have packets and changes of flows reported, and what changed before that read back."""
        try:
            reply = self._connection.request(lambda xid: [packet_in.config_request(xid)])
            flags = packet_in.config_flags(next(iter(reply.bodies.values()), [b""])[0])
            reply = self._connection.request(
                lambda xid: [*packet_in.ask(xid, flags),
                             monitor.request(xid + packet_in.ASKED, features.tables())],
                packet_in.ASKED + 1)
        except NotReady:
            self._connection.disconnect()  # without reports it is of no use
            return
        self._remarks.clear()
        for xid, reason in reply.errors.items():
            if xid == reply.last:
                self._remark("changes", f"Open vSwitch does not report changes of flows ({reason}; it does "
                             "since 2.16): what others change is found by the audit only")
            else:
                self._remark("packets", f"Open vSwitch does not send packets to the agent ({reason}): what "
                             "flows cannot answer is not answered")
        self._on_change()

    def _remark(self, what: str, remark: str) -> None:
        self._remarks[what] = remark
        LOG.warning("%s", remark)

    def _on_own_ports(self, own: Mapping[str, OwnPort]) -> None:
        hub.spawn(self._check_ports)  # waits until a change of our own is complete

    def _check_ports(self) -> None:
        with self._busy:
            changed = self._ports.changed()
        if changed:
            self._on_change()

    def _unasked(self, message: bytes) -> bool:
        """Take a report of the flow monitor."""
        if not monitor.is_report(message):
            return False
        if self._disturbed.is_set():  # all is going to be read
            return True
        try:
            if self._installed.concerns_us(message):
                self._disturbed.set()
        except codec.CodecError:
            LOG.exception("a report of changed flows cannot be read")
            self._disturbed.set()
        return True

    def _watch_forever(self) -> None:
        while True:
            self._disturbed.wait()
            LOG.warning("another program changed flows of bridge %s that concern us", self._bridge)
            self._disturbed.clear()
            self._on_change()
            hub.sleep(self._probe_interval)  # others may go on: to read all flows takes time

    # -- for the operator -----------------------------------------------------------------------------------

    def warnings(self) -> list[str]:
        """Return what this Open vSwitch, as it was asked, cannot do: all works, with what that means."""
        return [remark for remark in (*self._remarks.values(), self._floods.problem) if remark]

    def packet_in_counters(self) -> dict[tuple[int, str], int]:
        """Return how many packets came to the agent, by (OpenFlow port, what became of them).

        See packets.py.
        """
        return self._packet_ins.counters()

    def dump(self, owners: Iterable[ObjectKey] = ()) -> list[dict[str, Any]]:
        """Return our flows in words, with counters. Raises: NotReady.

        A cookie has only the CRC-32 of the owner: `owners` are the keys of the plan's objects, to
        name it by.
        """
        names = {zlib.crc32(name.encode()): name for name in map(pipeline.owner_text, owners)}
        return hub.offload(_describe, self._installed.dump(), names)

    def trace(self, in_port: int | str, packet: bytes) -> str:
        """Return what ovs-vswitchd would do with `packet` (bytes from Ethernet on) from `in_port`.

        Raises: NotReady, appctl.AppctlError.
        """
        return hub.offload(appctl.call, self._run_path, "ofproto/trace", self._bridge,
                           f"in_port={in_port}", packet.hex())


def _describe(bodies: Sequence[bytes], names: Mapping[int, str]) -> list[dict[str, Any]]:
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

