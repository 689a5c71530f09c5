# SPDX-License-Identifier: Apache-2.0
"""The replica of the few columns of OVSDB that we need: our bridge's interfaces, and the ports that are ours.

It runs in a native thread of its own, where each changed row is turned into values.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

from ovs.db import idl as ovs_idl
from ovsdbapp.backend.ovs_idl import connection

from fip64agent.plan.inputs import Interface
from fip64agent.switch.ovsdb_ports import IFINDEX, OWNER, is_isolated

COLUMNS = {
    "Open_vSwitch": ["bridges", "cur_cfg", "next_cfg"],
    "Bridge": ["name", "ports", "datapath_id", "datapath_type", "protocols"],
    "Port": ["name", "interfaces", "external_ids", "tag", "vlan_mode", "trunks", "cvlans",
             "bond_active_slave"],
    "Interface": ["name", "type", "ofport", "ifindex", "external_ids", "error", "mac_in_use"],
}
RECONNECT = (200, 500)
"""Shortest and longest time between attempts to reconnect, in ms (the library's own: 1 to 8 s)."""
_TRUNKS = ("trunk", "native-tagged", "native-untagged")
_NO_VLANS = (None, False)


@dataclasses.dataclass(frozen=True, slots=True)
class OwnPort:
    """A port on our bridge that carries our mark."""

    name: str
    mark: str
    error: str | None = None
    """Why OVS could not open its device."""
    isolated: bool = True
    """NORMAL sends nothing to it (ovsdb_ports.ISOLATION)."""
    ofport: int | None = None
    """OpenFlow port. When it changes, OVS has made the port anew, without the bit that keeps floods out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the agent reads from OVSDB, at one time."""

    interfaces: Mapping[str, Interface]
    """All on our bridge, by name."""
    own: Mapping[str, OwnPort]
    protocols: frozenset[str] = frozenset()
    """OpenFlow versions that the bridge is limited to; empty: it is not limited."""
    datapath_type: str = ""
    """"system", "netdev"."""


def _device_error(opened: int, present: int | None) -> str | None:
    if not opened or present is None or opened == present:  # None: ovsdb-server has only just restarted
        return None
    if not present:
        return "the device is gone"
    return f"the device was made anew (ifindex {opened} became {present}); OVS still has the old one"


@functools.cache
def _shared(tag: int | None, trunk: bool) -> tuple[int | None, bool]:
    """Return the tuple of these, of which there is one for all the ports that have them."""
    return tag, trunk


def _vlans_of(port) -> tuple[int | None, bool]:
    """Return (access VLAN, whether it is a trunk) of a row of the Port table (ovs-vswitchd.conf.db(5))."""
    mode = port.vlan_mode[0] if port.vlan_mode else ""
    tag = port.tag[0] if port.tag and mode in ("", "access") else None
    return _shared(tag, mode in _TRUNKS or (not mode and tag is None and bool(port.trunks)))


def _number(text: str) -> int:
    """Return a number in external_ids; 0 for anything else, which others may have written."""
    return int(text) if text.isascii() and text.isdigit() else 0


class _Rows:
    """The relevant rows as values, kept row by row in the replica's thread."""

    def __init__(self, bridge: str) -> None:
        self._bridge_name = bridge
        self._bridge = None
        self._port_uuids: list = []
        self._protocols: frozenset[str] = frozenset()
        self._datapath_type = ""
        self._ports: dict = {}
        self._interfaces: dict = {}
        self._macs: dict = {}
        self._vlans: dict = {}
        """What _vlans_of() says, by the UUID of an interface; only of those whose ports have VLANs."""

    def changed(self, event: str, row) -> None:
        table = row._table.name
        if table == "Interface":
            self._changed_interface(event, row)
        elif table == "Port":
            if event == ovs_idl.ROW_DELETE:
                self._ports.pop(row.uuid, None)
            else:
                members = [interface.uuid for interface in row.interfaces]
                active = row.bond_active_slave[0] if row.bond_active_slave and len(members) > 1 else None
                self._ports[row.uuid] = (row.name, row.external_ids.get(OWNER), members, active,
                                         is_isolated(row))
                self._changed_vlans(members, _vlans_of(row))
        elif table == "Bridge" and row.name == self._bridge_name:
            if event == ovs_idl.ROW_DELETE:
                if row.uuid == self._bridge:
                    self._bridge, self._port_uuids = None, []
            else:
                self._bridge, self._port_uuids = row.uuid, [port.uuid for port in row.ports]
                self._protocols = frozenset(row.protocols)
                self._datapath_type = row.datapath_type or "system"

    def _changed_vlans(self, members: list, vlans: tuple[int | None, bool]) -> None:
        for uuid in members:
            if self._vlans.get(uuid, _NO_VLANS) == vlans:
                continue
            if vlans == _NO_VLANS:
                del self._vlans[uuid]
            else:
                self._vlans[uuid] = vlans
            if (interface := self._interfaces.get(uuid)) is not None:
                self._interfaces[uuid] = dataclasses.replace(interface, tag=vlans[0], trunk=vlans[1])

    def _changed_interface(self, event: str, row) -> None:
        if event == ovs_idl.ROW_DELETE:
            self._interfaces.pop(row.uuid, None)
            self._macs.pop(row.uuid, None)
            self._vlans.pop(row.uuid, None)
            return
        ids = row.external_ids
        error = (row.error[0] if row.error else "") or None
        ofport = row.ofport[0] if row.ofport else None
        ifindex = row.ifindex[0] if row.ifindex else None
        if OWNER in ids and error is None:
            error = _device_error(_number(ids.get(IFINDEX, "")), ifindex)
        if error is not None or (ofport is not None and ofport < 0):
            ofport = None
        tag, trunk = self._vlans.get(row.uuid, _NO_VLANS)
        self._interfaces[row.uuid] = Interface(row.name, ofport, ids.get("iface-id"), error, tag=tag,
                                               trunk=trunk)
        self._macs[row.uuid] = row.mac_in_use[0] if row.mac_in_use else None

    def forget(self, tables) -> None:
        """Drop the rows that are not in the replica any more, after it was read anew."""
        for rows, table in ((self._ports, "Port"), (self._interfaces, "Interface"),
                            (self._macs, "Interface"), (self._vlans, "Interface")):
            present = tables[table].rows
            for uuid in [uuid for uuid in rows if uuid not in present]:
                del rows[uuid]
        if self._bridge is not None and self._bridge not in tables["Bridge"].rows:
            self._bridge, self._port_uuids = None, []

    def snapshot(self) -> Snapshot | None:
        """Return the snapshot, None while there is no such bridge."""
        if self._bridge is None:
            return None
        interfaces, own = {}, {}
        for uuid in self._port_uuids:
            if uuid not in self._ports:
                continue
            name, mark, members, active, isolated = self._ports[uuid]
            error = ofport = None
            for member in members:
                if (interface := self._interfaces.get(member)) is not None:
                    if len(members) > 1:
                        interface = dataclasses.replace(
                            interface, bond=name, active=active is not None and self._macs[member] == active)
                    interfaces[interface.name] = interface
                    error, ofport = error or interface.error, interface.ofport
            if mark is not None:
                own[name] = OwnPort(name, mark, error, isolated, ofport)
        return Snapshot(interfaces, own, self._protocols, self._datapath_type)


class Replica(connection.OvsdbIdl):
    """Calls `on_run(changed)` after each batch of updates, in whatever thread runs it."""

    def __init__(self, remote: str, schema, bridge: str, on_run: Callable[[bool], None]) -> None:
        super().__init__(remote, schema, leader_only=False)
        self.rows = _Rows(bridge)
        self._on_run = on_run
        reconnect = self._session.reconnect
        reconnect.min_backoff, reconnect.max_backoff = RECONNECT

    @property
    def connected(self) -> bool:
        return self._session.is_connected() and self.complete

    @property
    def complete(self) -> bool:
        """Whether the whole database has been read on this connection."""
        return self.state == self.IDL_S_MONITORING

    def notify(self, event, row, updates=None) -> None:
        self.rows.changed(event, row)

    def run(self) -> bool:
        changed = super().run()
        self._on_run(changed)
        return changed
