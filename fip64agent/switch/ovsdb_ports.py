# SPDX-License-Identifier: Apache-2.0
"""OVSDB transactions on ports of ours: ovsdbapp's commands, run in the replica's thread."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ovsdbapp.backend.ovs_idl import command, idlutils
from ovsdbapp.schema.open_vswitch import impl_idl

from fip64agent.exceptions import NotReady

OWNER = "fip64-owner"
"""Key in external_ids that marks what is ours; its value is ``<kind>:<id>`` of the plan's object."""
IFINDEX = "fip64-ifindex"
"""Key in external_ids of our interfaces: index of the device that OVS opened. OVS does not notice
when a device is deleted and made anew: it keeps the port, and no packet passes (measured, 3.1)."""


ISOLATION = {"tag": 4095, "vlan_mode": "dot1q-tunnel", "cvlans": [4095]}
"""Columns of our ports: NORMAL gives such a port only frames of VLAN 4095 with a tag for VLAN 4095 inside.
Both are reserved (IEEE 802.1Q), and a flow of ours drops what comes in with the first. Being an access port
of VLAN 4095 would not do: Neutron puts ports there that it has not set up yet, which may send. What our
flows output to a port does not depend on these columns."""


def is_isolated(port) -> bool:
    """Return whether a row of the Port table has the values of ISOLATION."""
    return all(getattr(port, column) in (value, [value]) for column, value in ISOLATION.items())


class Backend(impl_idl.OvsdbIdl):
    """ovsdbapp's commands for Open vSwitch, with a connection for each client and our transactions."""

    ovsdb_connection = None  # ovsdbapp would share one among all instances

    def create_transaction(self, check_error=True, log_errors=False, **_kwargs):
        return Transaction(self, self.ovsdb_connection, check_error=check_error, log_errors=log_errors)


class Transaction(impl_idl.OvsVsctlTransaction):
    """Waits until ovs-vswitchd has done it, for half of the timeout: then it does it later."""

    def do_post_commit(self, txn) -> None:
        wanted = txn.get_increment_new_value()
        deadline = time.monotonic() + self.timeout / 2
        poller = self.ovsdb_connection.poller
        while not self.vswitchd_has_completed(wanted) and (left := deadline - time.monotonic()) > 0:
            poller.timer_wait(left * 1000)
            self.api.idl.wait(poller)
            poller.block()
            self.api.idl.run()


class EditPorts(command.BaseCommand):
    """Adds ports of ours to the bridge and removes them; `result` has the reason for each that failed."""

    def __init__(self, api, bridge: str, add: Sequence[tuple[str, str]], delete: Sequence[str]) -> None:
        super().__init__(api)
        self._bridge_name = bridge
        self._add = add
        self._delete = delete

    def run_idl(self, txn) -> None:
        self.result = {}
        bridge = idlutils.row_by_value(self.api.idl, "Bridge", "name", self._bridge_name, None)
        if bridge is None:
            raise NotReady(missing_bridge(self._bridge_name))
        for name in self._delete:
            self._remove(bridge, name)
        for name, mark in self._add:
            self._ensure(txn, bridge, name, mark)

    def _find(self, name: str):
        return idlutils.row_by_value(self.api.idl, "Port", "name", name, None)

    def _bridge_of(self, port):
        return next((row for row in self.api.idl.tables["Bridge"].rows.values() if port in row.ports), None)

    def _remove(self, bridge, name: str) -> None:
        port = self._find(name)
        if port is None:
            return
        if OWNER not in port.external_ids:
            self.result[name] = foreign_port(name)
            return
        self._drop(port)

    def _drop(self, port) -> None:
        holder = self._bridge_of(port)
        if holder is not None:
            holder.delvalue("ports", port)
        for interface in port.interfaces:
            interface.delete()
        port.delete()

    def _ensure(self, txn, bridge, name: str, mark: str) -> None:
        port = self._find(name)
        if port is not None:
            if OWNER not in port.external_ids:
                self.result[name] = foreign_port(name)
                return
            usable = (port.external_ids.get(OWNER) == mark and self._bridge_of(port) == bridge
                      and not any(interface.error for interface in port.interfaces))
            if usable:
                if not is_isolated(port):
                    self._isolate(port)
                return
            self._drop(port)
        interface = txn.insert(self.api.idl.tables["Interface"])
        interface.name = name
        interface.external_ids = {OWNER: mark}
        port = txn.insert(self.api.idl.tables["Port"])
        port.name = name
        port.external_ids = {OWNER: mark}
        port.interfaces = [interface]
        self._isolate(port)
        bridge.addvalue("ports", port)

    @staticmethod
    def _isolate(port) -> None:
        for column, value in ISOLATION.items():
            setattr(port, column, value)


class RecordDevices(command.BaseCommand):
    """Writes IFINDEX on those of our interfaces that OVS has opened; `result` has the names of the others."""

    def __init__(self, api, names: Sequence[str]) -> None:
        super().__init__(api)
        self._names = names

    def run_idl(self, txn) -> None:
        self.result = []
        for name in self._names:
            interface = idlutils.row_by_value(self.api.idl, "Interface", "name", name, None)
            if interface is None or interface.error or IFINDEX in interface.external_ids:
                continue
            if interface.ifindex and interface.ifindex[0]:
                interface.setkey("external_ids", IFINDEX, str(interface.ifindex[0]))
            else:
                self.result.append(name)


def missing_bridge(name: str) -> str:
    """Return the message for a bridge that does not exist."""
    return (f"OVS has no bridge {name}: create it (ovs-vsctl --may-exist add-br {name}) "
            "or set [ovs] bridge")


def foreign_port(name: str) -> str:
    """Return the message for a port that exists and is not ours."""
    return (f"OVS has a port {name} that is not ours (no external_ids:{OWNER}); it is left alone. "
            f"Remove it (ovs-vsctl del-port {name}) if nobody needs it")
