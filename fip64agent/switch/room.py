# SPDX-License-Identifier: Apache-2.0
"""The room of Open vSwitch: our ports on the bridge and our flows in it."""

from __future__ import annotations

import dataclasses
import logging
import time
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import Desired, Host, ObjectKey, PlanObject, Tenant, Uplink
from fip64agent.plan.inputs import Interface
from fip64agent.switch import appctl, bundle, codec, monitor, pipeline, text
from fip64agent.switch.announce import Announcer
from fip64agent.switch.app import Connection, Reply
from fip64agent.switch.codec import FlowItem
from fip64agent.switch.flooding import Floods
from fip64agent.switch.flows import flows_of
from fip64agent.switch.flows.default import default
from fip64agent.switch.flows.deliver import deliver
from fip64agent.switch.ovsdb import OvsdbClient, OwnPort

LOG = logging.getLogger(__name__)

ASK_SINGLY = 64
"""Up to so many new flows, the switch is asked about each key; beyond, for all flows at once."""
FRESH = 2.0
"""Seconds for which the keys of foreign flows seen by a dump are good enough."""
START_WAIT = 2.0
"""Seconds that start() waits for the OpenFlow connection before it goes on without."""


@dataclasses.dataclass(frozen=True, slots=True)
class PortItem:
    """A port of ours on the bridge."""

    name: str
    mark: str
    error: str | None = None
    """Why OVS cannot use the device: then there is something left to do."""
    isolated: bool = True
    """NORMAL sends nothing to it."""
    flooded: bool = False
    """FLOOD sends to it."""
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return pipeline.port_key(self.name)

    def __str__(self) -> str:
        return f"OVS port {self.name}"


SwitchItem = PortItem | FlowItem
_DEFAULT = codec.encode(next(default(Host())))
"""The one flow that counts as installed when another system has one in its place."""


def _ports_of(obj: PlanObject) -> Iterator[str]:
    """Yield the names of the OVS ports that an object needs."""
    if isinstance(obj, Uplink):
        yield from obj.veths
    elif isinstance(obj, Tenant) and obj.own_interface:
        yield obj.interface
    elif isinstance(obj, Host) and obj.downlink:
        yield obj.downlink


class SwitchRoom:
    """Ports and flows. `on_change`: what is installed may not be what was installed."""

    name = "switch"

    def __init__(self, ovsdb_connection: str, run_path: str, bridge: str, *, timeout: float = 10,
                 probe_interval: float = 2, on_change: Callable[[], None] = lambda: None,
                 on_interfaces: Callable[[Mapping[str, Interface]], None] = lambda interfaces: None) -> None:
        self._run_path = run_path
        self._bridge = bridge
        self._probe_interval = probe_interval
        self._on_change = on_change
        self._ovsdb = OvsdbClient(ovsdb_connection, bridge, on_interfaces, timeout, self._on_own_ports,
                                  self._on_state)
        self._connection = Connection(f"{run_path}/{bridge}.mgmt", timeout, self._on_connected, self._unasked,
                                      self._ovsdb.why_down)
        self._announcer = Announcer(self._connection)
        self._floods = Floods(self._connection.path, bridge, timeout)
        self._busy = hub.Semaphore()
        self._watch_thread = None
        self._disturbed = hub.Event()
        """Others changed flows that concern us since they were last read."""
        self._installed: set[int] = set()
        """Hashes of the keys of our flows, as read back and as changed since. The keys would take 3 MiB more
        for 10,000 floating IPs. If two keys have one hash, flows are read back once more than necessary."""
        self._marks: dict[str, OwnPort] | None = None
        self._foreign: set[Hashable] = set()
        self._foreign_seen = float("-inf")
        self._taken: set[Hashable] = set()
        """Keys of flows that we could not add because others have flows there."""
        self._unreported = ""
        """Why changes of flows by others are not reported; "": they are."""
        self._satisfied: dict[Hashable, FlowItem] = {}

    @classmethod
    def from_conf(cls, conf, on_change: Callable[[], None] = lambda: None,
                  on_interfaces: Callable[[Mapping[str, Interface]], None] = lambda _: None) -> SwitchRoom:
        return cls(conf.ovs.ovsdb_connection, conf.ovs.run_path, conf.ovs.bridge, timeout=conf.ovs.timeout,
                   probe_interval=conf.reconcile.probe_interval, on_change=on_change,
                   on_interfaces=on_interfaces)

    # -- start and stop ---------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, now or as soon as ovsdb-server and the bridge are there: ready() says what is missing."""
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
        for name in _ports_of(obj):
            yield PortItem(name, pipeline.owner_text(obj.key), owner=obj.key)
        for flow in flows_of(obj):
            yield codec.encode(flow)

    # -- reading back ---------------------------------------------------------------------------------

    def actual(self) -> dict[Hashable, SwitchItem]:
        with self._busy:
            flooded = self._floods.flooded()
            result: dict[Hashable, SwitchItem] = {
                pipeline.port_key(port.name): PortItem(port.name, port.mark, port.error, port.isolated,
                                                       port.name in flooded)
                for port in self._ovsdb.own_ports().values()}
            self._marks = dict(self._ovsdb.own_ports())
            self._disturbed.clear()
            flows = self._read_flows()
            self._installed = set(map(hash, flows))
            self._taken &= self._foreign
            result.update(flows)
            # It is wanted together with all other flows of ours.
            self._satisfied = {_DEFAULT.key: _DEFAULT} if flows and _DEFAULT.key in self._foreign else {}
            result.update(self._satisfied)
            return result

    def _read_flows(self) -> dict[Hashable, FlowItem]:
        """Return our flows by key, and note the keys of others' in the tables we use."""
        flows: dict[Hashable, FlowItem] = {}
        foreign: set[Hashable] = set()
        for body in self._dump():
            for table, priority, cookie, match, instructions, _, _ in codec.decode_flows(body):
                if pipeline.is_ours(cookie):
                    item = FlowItem(table, priority, codec.normalise(match), instructions, cookie)
                    flows[item.key] = item
                elif table in pipeline.TABLES:
                    foreign.add(pipeline.flow_key(table, priority, codec.normalise(match)))
            hub.sleep(0)
        self._foreign, self._foreign_seen = foreign, time.monotonic()
        return flows

    def _dump(self) -> list[bytes]:
        reply = self._request(lambda xid: [codec.flow_request(xid)])
        return next(iter(reply.bodies.values()), [])

    def _request(self, build: Callable[[int], list[bytes]], count: int = 1) -> Reply:
        reply = self._connection.request(build, count)
        if reply.errors:
            raise NotReady(f"Open vSwitch refused a question: {next(iter(reply.errors.values()))}")
        return reply

    # -- changing ---------------------------------------------------------------------------------------

    def apply(self, items: Sequence[tuple[SwitchItem | None, SwitchItem]]) -> dict[Hashable, str]:
        with self._busy:
            ports = [item for _, item in items if isinstance(item, PortItem)]
            failed = self._add_ports(ports)
            flows = [(was, item) for was, item in items if isinstance(item, FlowItem)]
            if flows:
                failed.update(self._add_flows(flows))
            return failed

    def _add_ports(self, ports: Sequence[PortItem]) -> dict[Hashable, str]:
        if not ports:
            return {}
        failed = self._ovsdb.edit(add=[(item.name, item.mark) for item in ports])
        self._note([item.name for item in ports])
        failed |= self._floods.keep_out([item.name for item in ports if item.name not in failed])
        return {pipeline.port_key(name): reason for name, reason in failed.items()}

    def _note(self, names: Sequence[str]) -> None:
        """Remember what our own change made of these ports: no news when OVSDB reports it."""
        if self._marks is None:
            return
        own = self._ovsdb.own_ports()
        for name in names:
            self._marks.pop(name, None)
            if name in own:
                self._marks[name] = own[name]

    def _add_flows(self, flows: Sequence[tuple[FlowItem | None, FlowItem]]) -> dict[Hashable, str]:
        taken = self._taken_by_others([item for was, item in flows
                                       if was is None or was.key in self._satisfied])
        failed: dict[Hashable, str] = {}
        wanted = []
        for _was, item in flows:
            key = item.key
            if key not in taken:
                self._satisfied.pop(key, None)
                wanted.append(item)
                continue
            self._taken.add(key)
            if key == _DEFAULT.key:
                self._satisfied[key] = item
            else:
                failed[key] = ("another system has a flow with the same table, priority and match; "
                               "it is left alone")
        self._installed.update(hash(item.key) for item in wanted)  # first: others may change one at once
        refused = bundle.change(self._connection, bundle.ADD, wanted)
        self._installed.difference_update(map(hash, refused))
        for item in wanted:
            if item.announcements and item.key not in refused:
                self._announcer.announce(item.key, item.announcements)
        failed.update(refused)
        return failed

    def _taken_by_others(self, items: Sequence[FlowItem]) -> set[Hashable]:
        """Return the keys that flows of others have."""
        if len(items) > ASK_SINGLY:
            if time.monotonic() - self._foreign_seen > FRESH:
                self._read_flows()
            return self._foreign
        narrow = [item for item in items if item.match]
        taken: set[Hashable] = set()
        if narrow:
            # What the switch cannot be asked about it refuses to take as well, and says why then.
            reply = self._connection.request(
                lambda first: [codec.flow_request(xid, item.table, match=item.match)
                               for xid, item in enumerate(narrow, first)], len(narrow))
            taken = {pipeline.flow_key(table, priority, codec.normalise(match))
                     for bodies in reply.bodies.values() for body in bodies
                     for table, priority, cookie, match, *_ in codec.decode_flows(body)
                     if not pipeline.is_ours(cookie)}
        if len(narrow) < len(items):  # to ask for the flow without a match is to ask for all
            self._read_flows()
            taken |= self._foreign
        return taken

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
                self._installed.difference_update(hash(item.key) for item in flows if item.key not in failed)
            names = [item.name for item in items if isinstance(item, PortItem)]
            refused = self._ovsdb.edit(delete=names)
            self._note(names)
            failed.update((pipeline.port_key(name), reason) for name, reason in refused.items())
            return failed

    def announce_failovers(self, before: Desired, after: Desired) -> None:
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

    # -- what happens behind our back ---------------------------------------------------------------------

    def _on_state(self) -> None:
        """Something that we need in OVSDB is there now, or is not any more."""
        self._connection.retry()
        self._on_change()

    def _on_connected(self) -> None:
        """Have changes of flows reported, and what changed before that read back."""
        try:
            reply = self._connection.request(lambda xid: [monitor.request(xid, pipeline.TABLES)])
        except NotReady:
            self._connection.disconnect()  # without reports it is of no use
            return
        self._unreported = ""
        if reply.errors:
            reason = next(iter(reply.errors.values()))
            self._unreported = (f"Open vSwitch does not report changes of flows ({reason}; it does since "
                                "2.16): what others change is found by the audit only")
            LOG.warning("%s", self._unreported)
        self._on_change()

    def _on_own_ports(self, own: Mapping[str, OwnPort]) -> None:
        hub.spawn(self._check_ports)  # waits until a change of our own is complete

    def _check_ports(self) -> None:
        with self._busy:
            changed = self._marks is not None and self._marks != self._ovsdb.own_ports()
        if changed:
            self._on_change()

    def _unasked(self, message: bytes) -> bool:
        """Take a report of the flow monitor: what concerns us is ours, or is where ours is or should be."""
        if not monitor.is_report(message):
            return False
        if self._disturbed.is_set():  # all is going to be read
            return True
        try:
            for table, priority, cookie, match in monitor.decode(message):
                if pipeline.is_ours(cookie) or self._concerns(
                        pipeline.flow_key(table, priority, codec.normalise(match))):
                    self._disturbed.set()
                    break
        except codec.CodecError:
            LOG.exception("a report of changed flows cannot be read")
            self._disturbed.set()
        return True

    def _concerns(self, key: Hashable) -> bool:
        return hash(key) in self._installed or key in self._taken

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
        return [remark for remark in (self._unreported, self._floods.problem) if remark]

    def dump(self, owners: Iterable[ObjectKey] = ()) -> list[dict[str, Any]]:
        """Return our flows in words, with counters. Raises: NotReady.

        A cookie has only the CRC-32 of the owner: `owners` are the keys of the plan's objects, to
        name it by.
        """
        names = {zlib.crc32(name.encode()): name for name in map(pipeline.owner_text, owners)}
        return hub.offload(_describe, self._dump(), names)

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
            decoded = pipeline.decode_cookie(item.cookie)
            kind, owner = decoded if decoded else (None, 0)
            result.append({
                "table": pipeline.table_name(item.table), "feature": kind.feature if kind else "unknown",
                "priority": item.priority, "cookie": f"0x{item.cookie:016x}",
                "owner": names.get(owner, f"{owner:08x}"),
                "match": text.match_text(item.match), "actions": text.instructions_text(item.instructions),
                "packets": stats.packets, "bytes": stats.bytes})
    result.sort(key=lambda row: (row["table"], -row["priority"], row["feature"], row["match"]))
    return result

