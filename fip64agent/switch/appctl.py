# SPDX-License-Identifier: Apache-2.0
"""ovs-vswitchd's control socket, as ovs-appctl uses it."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import ovs.jsonrpc
import ovs.poller
import ovs.stream

from fip64agent.exceptions import Fip64Error, NotReady

TIMEOUT = 5.0
"""Seconds in which ovs-vswitchd must answer."""


class AppctlError(Fip64Error):
    """ovs-vswitchd refused a command."""


def control_socket(run_path: str) -> Path:
    """Return the socket of the running ovs-vswitchd under `run_path`. Raises: NotReady."""
    directory = Path(run_path)
    try:
        pid = int((directory / "ovs-vswitchd.pid").read_text())
    except (OSError, ValueError):
        pid = 0
    for path in (directory / f"ovs-vswitchd.{pid}.ctl", directory / "ovs-vswitchd.ctl"):
        if path.exists():
            return path
    raise NotReady(f"no control socket of ovs-vswitchd in {run_path}: does it run?")


def _transact(rpc: ovs.jsonrpc.Connection, request: ovs.jsonrpc.Message) -> tuple[int, ovs.jsonrpc.Message]:
    """Do as rpc.transact_block(), but with a timeout: ovs-vswitchd may hang and would block our threads."""
    deadline = time.monotonic() + TIMEOUT
    error, reply = rpc.send(request), None
    while not error:
        rpc.run()
        error, reply = rpc.recv()
        if error == errno.EAGAIN:
            left = deadline - time.monotonic()
            if left <= 0:
                return errno.ETIMEDOUT, reply
            error = 0
            poller = ovs.poller.Poller()
            rpc.wait(poller)
            rpc.recv_wait(poller)
            poller.timer_wait(left * 1000)
            poller.block()
        elif reply is not None and reply.id == request.id:
            break
    return error, reply


def call(run_path: str, command: str, *arguments: str) -> str:
    """Run a command of ovs-vswitchd and return its output. Blocks: use hub.offload().

    Raises: NotReady when it cannot be asked, AppctlError when it refuses.
    """
    path = control_socket(run_path)
    error, stream = ovs.stream.Stream.open_block(ovs.stream.Stream.open(f"unix:{path}"), 5000)
    if error:
        raise NotReady(f"cannot reach ovs-vswitchd on {path}: {os.strerror(error)}")
    rpc = ovs.jsonrpc.Connection(stream)
    try:
        error, reply = _transact(rpc, ovs.jsonrpc.Message.create_request(command, list(arguments)))
    finally:
        rpc.close()
    if error:
        why = os.strerror(error) if error > 0 else "connection closed"
        raise NotReady(f"ovs-vswitchd did not answer on {path}: {why}")
    if reply.error is not None:
        raise AppctlError(f"{command}: {str(reply.error).strip()}")
    return str(reply.result)
