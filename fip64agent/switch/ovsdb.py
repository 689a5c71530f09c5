# SPDX-License-Identifier: Apache-2.0
"""OVSDB: which interfaces our bridge has, and which of its ports are ours.

ovsdbapp keeps a replica of the few columns that we need, in a native thread of its own. After each change a
complete snapshot is passed on to the hub's thread.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from ovsdbapp import exceptions as ovsdbapp_exceptions
from ovsdbapp.backend.ovs_idl import command, connection, idlutils

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.plan.inputs import Interface
from fip64agent.switch.ovsdb_ports import Backend, EditPorts, RecordDevices, missing_bridge
from fip64agent.switch.ovsdb_replica import COLUMNS, OwnPort, Replica, Snapshot

LOG = logging.getLogger(__name__)

RETRY = 0.5
"""Seconds between attempts to connect to an ovsdb-server that did not run at the start."""
RECORD_WAIT = 1.0
"""Seconds to wait until OVS reports the index of a device that it opened."""


def missing_protocol(bridge: str, protocols: Collection[str]) -> str | None:
    """Return why Bridge.protocols rules out OpenFlow 1.3 (OpenFlow 1.3.5, 6.3.1); None: it does not."""
    if not protocols or "OpenFlow13" in protocols:
        return None
    return (f"Bridge.protocols of {bridge} has no OpenFlow13, which the agent speaks, but "
            f"{', '.join(sorted(protocols))}: ovs-vsctl add bridge {bridge} protocols OpenFlow13")


def unreachable(remote: str) -> str | None:
    """Return why nobody listens on the unix socket that `remote` names; None if somebody does."""
    if not remote.startswith("unix:"):
        return None
    path = remote.removeprefix("unix:")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                hint = "run as root"
            else:
                hint = "is openvswitch-switch installed and running? else set [ovs] ovsdb_connection"
            return f"cannot reach ovsdb-server on {path}: {os.strerror(error.errno or 0)}; {hint}"
    return None


class OvsdbClient:
    """The connection to ovsdb-server.

    `on_interfaces`: called on the hub's thread with all interfaces of `bridge` by name, after each change of
    them, and not before the first complete snapshot.
    `on_own`: the same for the ports that carry our mark.
    `on_state`: called when the result of why_down() has changed.
    `timeout`: seconds in which ovsdb-server must answer.

    While there is no ovsdb-server, or no bridge, the last snapshot stays in force.
    """

    def __init__(self, remote: str, bridge: str, on_interfaces: Callable[[Mapping[str, Interface]], None],
                 timeout: float, on_own: Callable[[Mapping[str, OwnPort]], None] = lambda own: None,
                 on_state: Callable[[], None] = lambda: None) -> None:
        self._remote = remote
        self._bridge = bridge
        self._timeout = timeout
        self._on_interfaces = on_interfaces
        self._on_own = on_own
        self._on_state = on_state
        self._lock = hub.Semaphore()
        self._connection: connection.Connection | None = None
        self._backend: Backend | None = None
        self._replica: Replica | None = None
        self._notifier: hub.Notifier | None = None
        self._connecting = None
        self._latest: Snapshot | None = None
        self._delivered: Snapshot | None = None
        self._missing: str | None = "OVSDB has not been read yet"
        """Why there is no bridge that we can work with; None: there is one."""
        self._reported: str | None = None
        """What `_missing` was when on_state was called last."""
        self._was_connected = False

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """Connect and read all, or do so later, as soon as ovsdb-server runs."""
        self._notifier = hub.Notifier(self._deliver)
        if not self._attempt():
            self._connecting = hub.spawn(self._connect_later)

    def _connect_later(self) -> None:
        while True:
            hub.sleep(RETRY)
            if self._attempt():
                self._report_state()
                return

    def _attempt(self) -> bool:
        self._reported = self._missing = unreachable(self._remote)
        if self._missing is None:
            try:
                hub.offload(self._connect)
                return True
            except Exception as error:  # the libraries below raise bare Exceptions
                self._missing = f"cannot read the Open_vSwitch database on {self._remote}: {error}"
        return False

    def _connect(self) -> None:
        schema = idlutils.get_schema_helper(self._remote, "Open_vSwitch")
        for table, columns in COLUMNS.items():
            schema.register_columns(table, columns)
        self._replica = Replica(self._remote, schema, self._bridge, self._after_run)
        made = connection.Connection(self._replica, self._timeout)
        try:
            self._backend = Backend(made)
        except BaseException:
            self._replica.close()
            self._replica = None
            raise
        self._connection = made

    def close(self) -> None:
        """Disconnect."""
        if self._connecting is not None:
            self._connecting.kill()
            self._connecting = None
        if self._connection is not None:
            hub.offload(self._connection.stop, 2)
            self._connection = None
        if self._notifier is not None:
            self._notifier.close()
            self._notifier = None

    # -- snapshots -------------------------------------------------------------------------------

    def _after_run(self, changed: bool) -> None:
        """Take a snapshot after a batch of updates. Runs in the replica's thread."""
        replica = self._replica
        if replica is None or not replica.complete:
            if self._was_connected:
                self._was_connected = False
                LOG.warning("the connection to ovsdb-server was lost; the last snapshot stays in force")
            return
        if not self._was_connected:
            self._was_connected = True
            replica.rows.forget(replica.tables)
        elif not changed:
            return
        snapshot = replica.rows.snapshot()
        if snapshot is None:
            self._missing = missing_bridge(self._bridge)
        else:
            self._latest = snapshot
            self._missing = missing_protocol(self._bridge, snapshot.protocols)
        if self._notifier is not None:
            self._notifier.notify()

    def _deliver(self) -> None:
        """Pass the latest snapshot on. Runs on the hub's thread."""
        self._report_state()
        new, old = self._latest, self._delivered
        if new is None or new is old:
            return
        self._delivered = new
        for was, now, callback in ((old and old.interfaces, new.interfaces, self._on_interfaces),
                               (old and old.own, new.own, self._on_own)):
            if was != now:
                try:
                    callback(now)
                except Exception:
                    LOG.exception("what should follow a change in OVSDB failed")

    def _report_state(self) -> None:
        if self._reported != self._missing:
            self._reported = self._missing
            self._on_state()

    def why_down(self) -> str | None:
        """Return None when the bridge exists and can be used, as far as is known, else the reason."""
        return self._missing

    def datapath_type(self) -> str:
        """Return the type of the bridge's datapath: "system", "netdev"; "" before the first snapshot."""
        return self._latest.datapath_type if self._latest else ""

    def own_ports(self) -> Mapping[str, OwnPort]:
        """Return the ports that are ours. Raises: NotReady before the first complete snapshot."""
        if self._latest is None:
            raise NotReady("OVSDB has not been read yet")
        return self._latest.own

    # -- changes ----------------------------------------------------------------------------------

    def edit(self, add: Sequence[tuple[str, str]] = (), delete: Sequence[str] = ()) -> dict[str, str]:
        """Delete ports, then add (name, mark); return the reason for each name that failed.

        It can be repeated. A port without our mark is not changed. A port of ours whose device had
        disappeared is made anew. Waits until ovs-vswitchd has done it, at most half of the timeout.
        """
        if not add and not delete:
            return {}
        try:
            failed = dict(hub.offload(self._edit, add, delete, lock=self._lock))
        except NotReady as error:
            failed = dict.fromkeys([name for name, _ in add] + list(delete), str(error))
        except (ovsdbapp_exceptions.OvsdbAppException, RuntimeError, idlutils.RowNotFound) as error:
            LOG.warning("an OVSDB transaction failed: %s", error)
            failed = dict.fromkeys([name for name, _ in add] + list(delete), f"OVSDB: {error}")
        own = self._latest.own if self._latest else {}
        for name, _mark in add:
            if name not in failed and name in own and own[name].error:
                failed[name] = f"OVS cannot use the device: {own[name].error}"
        return failed

    def _edit(self, add, delete) -> Mapping[str, str]:
        if self._replica is None or not self._replica.connected:
            raise NotReady(f"ovsdb-server is not connected ({self._remote})")
        own = self._latest.own if self._latest else {}
        broken = [name for name, mark in add if name in own and (own[name].error or own[name].mark != mark)]
        failed: dict[str, str] = {}
        if delete or broken:  # on its own: in one transaction OVS would keep the open device
            failed |= self._commit(EditPorts(self._backend, self._bridge, (), [*delete, *broken]))
        if add:
            failed |= self._commit(EditPorts(self._backend, self._bridge, add, ()))
            self._record_devices([name for name, _ in add if name not in failed])
        return failed

    def _commit(self, edit: command.BaseCommand):
        transaction = self._backend.create_transaction(check_error=True, log_errors=False)
        transaction.add(edit)
        transaction.commit()
        return edit.result

    def _record_devices(self, names: Sequence[str]) -> None:
        """Write down which devices OVS has opened, as soon as it reports them (RECORD_WAIT at most)."""
        record = RecordDevices(self._backend, names)
        deadline = time.monotonic() + RECORD_WAIT
        while self._commit(record) and time.monotonic() < deadline:
            time.sleep(0.01)
