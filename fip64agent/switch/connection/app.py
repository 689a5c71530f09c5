# SPDX-License-Identifier: Apache-2.0
"""The OpenFlow connection: os-ken's handshake, echo and sending; replies by transaction id.

The agent connects to the bridge's management socket, as ovs-ofctl does: no Controller row, no
flush of flows, no socket that listens. Replies that somebody waits for are taken as bytes, before
os-ken parses them; all other messages become os-ken's events.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import struct
import time
from collections.abc import Callable, Iterable

from fip64agent import hub
from fip64agent.exceptions import NotReady

# isort: split
from os_ken.base import app_manager
from os_ken.controller import controller, ofp_event, ofp_handler
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls, set_ev_handler
from os_ken.lib.packet.packet_base import PacketBase
from os_ken.ofproto import ofproto_parser
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

LOG = logging.getLogger(__name__)

RECONNECT = 0.2
"""Seconds between attempts to connect. A unix socket refuses at once, so an attempt costs very little."""
LONGEST_RECONNECT = 5.0
"""The same after the switch has refused our OpenFlow version: doubled with each refusal, up to this."""
READ = 32 * 1024
"""Bytes taken from the socket at once."""
BATCH = 128 * 1024
"""Bytes handed to the socket at once: other greenthreads run in between."""
HEADER = struct.Struct("!BBHI")
_MULTIPART = struct.Struct("!HH4x")


def error_text(kind: int, code: int) -> str:
    """Return OpenFlow's names of an error."""
    return f"{ofp.ofp_error_type_to_str(kind)}, {ofp.ofp_error_code_to_str(kind, code)}"


class Handshake(ofp_handler.OFPHandler):
    """os-ken's handshake and echo handlers, without its TCP listener and its list of ports."""

    def start(self):
        app_manager.OSKenApp.start(self)

    def _hello_failed(self, datapath, error_desc):
        """As os-ken's, but keep the reason for Connection.why_down() instead of logging it each time."""
        datapath.refusal = error_desc
        datapath.send_msg(datapath.ofproto_parser.OFPErrorMsg(
            datapath=datapath, type_=datapath.ofproto.OFPET_HELLO_FAILED,
            code=datapath.ofproto.OFPHFC_INCOMPATIBLE, data=error_desc.encode()), close_socket=True)

    @set_ev_handler(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def switch_features_handler(self, ev):
        channel = ev.msg.datapath
        channel.id = ev.msg.datapath_id
        channel.ports = {}
        channel.set_state(MAIN_DISPATCHER)


class Fip64App(app_manager.OSKenApp):
    """Gets the messages that no request waits for."""

    OFP_VERSIONS = (ofp.OFP_VERSION,)

    @set_ev_cls(ofp_event.EventOFPErrorMsg, MAIN_DISPATCHER)
    def on_error(self, ev):
        LOG.warning("the switch refused a message that nobody waits for: %s",
                    error_text(ev.msg.type, ev.msg.code))


_apps: list[app_manager.OSKenApp] = []


def start_apps() -> None:
    """Start os-ken's apps, once per process."""
    if _apps:
        return
    manager = app_manager.AppManager.get_instance()
    for cls in (Handshake, Fip64App):
        app = manager.instantiate(cls)
        app.start()
        _apps.append(app)


@ofproto_parser.register_msg_parser(ofp.OFP_VERSION)
def _parse(datapath, version, msg_type, msg_len, xid, buf):
    """Pass messages on as bytes where the agent takes them (Channel.take); os-ken parses all others.

    Returns None for the former: os-ken's receiving loop does nothing with it then.
    """
    if isinstance(datapath, Channel) and datapath.take(msg_type, xid, buf):
        return None
    return parser.msg_parser(datapath, version, msg_type, msg_len, xid, buf)


class _UnixSocket:
    """A green unix socket that os-ken may try TCP options on.

    It reads as many bytes as there are at once, since os-ken asks for each message's header alone. It lets
    other greenthreads run each time: they would never run where there always is more to read.
    """

    def __init__(self, sock) -> None:
        self._sock = sock
        self._read = b""
        self._position = 0

    def recv(self, size: int) -> bytes:
        if self._position == len(self._read):
            hub.sleep(0)
            self._read, self._position = self._sock.recv(READ), 0
        start = self._position
        self._position = min(start + size, len(self._read))
        return self._read[start:self._position]

    def setsockopt(self, *_args) -> None:
        pass

    def __getattr__(self, name):
        return getattr(self._sock, name)


class Reply:
    """The answers to the transaction ids from `first` to `last`; complete when `last` was answered."""

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        self.bodies: dict[int, list[bytes]] = {}
        """Replies' bodies by transaction id; of a multipart reply one for each part, without its header."""
        self.errors: dict[int, str] = {}
        self.lost: str | None = None
        self.done = hub.Event()

    def take(self, msg_type: int, xid: int, buf: bytes) -> None:
        final = xid == self.last
        if msg_type == ofp.OFPT_ERROR:
            kind, code = struct.unpack_from("!HH", buf, HEADER.size)
            self.errors[xid] = error_text(kind, code)
        elif msg_type == ofp.OFPT_MULTIPART_REPLY:
            _kind, flags = _MULTIPART.unpack_from(buf, HEADER.size)
            self.bodies.setdefault(xid, []).append(bytes(buf[HEADER.size + _MULTIPART.size:]))
            final = final and not flags & ofp.OFPMPF_REPLY_MORE
        else:
            self.bodies[xid] = [bytes(buf[HEADER.size:])]
        if final:
            self.done.set()


class Channel(controller.Datapath):
    """One connection to the bridge, as os-ken knows it."""

    def __init__(self, sock, connection: Connection) -> None:
        super().__init__(_UnixSocket(sock), connection.path)
        self._connection = connection
        self._replies: list[Reply] = []
        self.refusal: str | None = None
        """Why agent and switch have no OpenFlow version in common; None: they have one."""
        self.echo_request_interval = connection.timeout / 4
        self.max_unreplied_echo_requests = 3
        self.socket.settimeout(connection.timeout / 2)
        self.xid = random.randint(0, 0xFFFF)

    def set_state(self, state) -> None:
        super().set_state(state)
        if state == MAIN_DISPATCHER:
            self._connection.handshake_complete(self)

    def take(self, msg_type: int, xid: int, buf: bytes) -> bool:
        """Pass a message on to the request or function that it is for; return False when there is none."""
        if msg_type == ofp.OFPT_PACKET_IN:
            self._connection.packet_in(buf)
            return True
        if msg_type in (ofp.OFPT_ECHO_REQUEST, ofp.OFPT_ECHO_REPLY):
            return False
        for reply in self._replies:
            if reply.first <= xid <= reply.last:
                reply.take(msg_type, xid, buf)
                return True
        return (msg_type == ofp.OFPT_MULTIPART_REPLY
                and self._connection.unsolicited(bytes(buf[HEADER.size:])))

    def reserve(self, count: int) -> int:
        """Return the first of `count` transaction ids that nobody else uses."""
        if self.xid + count >= ofp.MAX_XID:
            self.xid = 0
        first = self.xid + 1
        self.xid += count
        return first

    def exchange(self, messages: Iterable[bytes], first: int, last: int, timeout: float) -> Reply:
        """Send `messages` and wait until the one with transaction id `last` is answered.

        Raises: NotReady when the connection is lost or `timeout` seconds pass without an answer.
        """
        reply = Reply(first, last)
        self._replies.append(reply)
        try:
            self._send_batches(messages)
            if not reply.done.wait(timeout):
                raise NotReady(f"Open vSwitch did not answer within {timeout:g} s on {self.address}")
        finally:
            self._replies.remove(reply)
        if reply.lost:
            raise NotReady(reply.lost)
        return reply

    def _send_batches(self, messages: Iterable[bytes]) -> None:
        batch: list[bytes] = []
        size = 0
        for message in messages:
            batch.append(message)
            size += len(message)
            if size >= BATCH:
                self._send(batch)
                batch, size = [], 0
                hub.sleep(0)
        self._send(batch)

    def _send(self, batch: list[bytes]) -> None:
        if batch and not self.send(b"".join(batch)):
            raise NotReady(f"the connection to {self.address} was lost")

    def connection_lost(self) -> None:
        """End all requests that wait for an answer, with the reason that the connection was lost."""
        for reply in self._replies:
            reply.lost = f"the connection to {self.address} was lost"
            reply.done.set()


def forget_class_checks() -> None:
    """Free 4 MiB that importing os_ken has left behind.

    It asks of each class whether it is a packet class, and all packet classes keep the answers, of which none
    is asked for again. The method that clears them is Python's own (abc.ABCMeta), though not
    documented: without it nothing but the memory is missed.
    """
    classes = [PacketBase]
    for cls in classes:
        classes += cls.__subclasses__()
        with contextlib.suppress(AttributeError):
            cls._abc_caches_clear()


class Connection:
    """Keeps a connection to the bridge's management socket at `path`.

    `timeout`: seconds until an unanswered request, or a switch that answers no echo, is given up.
    `on_up`: called in a greenthread each time the connection is made.
    `unsolicited`: gets multipart replies that no request waits for, without their header, and returns
    whether it takes them. Must neither wait nor raise.
    `obstacle`: returns why it makes no sense to connect now, or None. Call retry() when that has changed.
    `packet_in`: gets OFPT_PACKET_IN messages, with their header. Must neither wait nor raise.
    """

    def __init__(self, path: str, timeout: float, on_up: Callable[[], None],
                 unsolicited: Callable[[bytes], bool] = lambda message: False,
                 obstacle: Callable[[], str | None] = lambda: None,
                 packet_in: Callable[[bytes], None] = lambda message: None) -> None:
        forget_class_checks()
        self.path = path
        self.timeout = timeout
        self.unsolicited = unsolicited
        self.packet_in = packet_in
        self._on_up = on_up
        self._obstacle = obstacle
        self._retry = hub.Event()
        self._channel: Channel | None = None
        self._thread = None
        self._reason = "not connected yet"

    def start(self) -> None:
        start_apps()
        self._thread = hub.spawn(self._run)

    def close(self) -> None:
        if self._thread:
            self._thread.kill()
            self._thread = None
        channel, self._channel, self._reason = self._channel, None, "closed"
        if channel:
            channel.connection_lost()

    def why_down(self) -> str | None:
        """Return None when connected, else the reason why not."""
        return None if self._channel else self._obstacle() or self._reason

    def retry(self) -> None:
        """Try to connect now, if it is not connected."""
        self._retry.set()

    def wait_up(self, seconds: float) -> bool:
        """Wait until connected, at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self._channel is None and time.monotonic() < deadline:
            hub.sleep(0.02)
        return self._channel is not None

    @property
    def channel(self) -> Channel:
        """The connection in force. Raises: NotReady when there is none."""
        if self._channel is None:
            raise NotReady(self._reason)
        return self._channel

    def request(self, build: Callable[[int], list[bytes]], count: int = 1) -> Reply:
        """Send the `count` messages that `build(first transaction id)` returns; wait for the last's reply.

        Raises: NotReady.
        """
        channel = self.channel
        first = channel.reserve(count)
        return channel.exchange(build(first), first, first + count - 1, self.timeout)

    def send(self, data: bytes) -> None:
        """Send and expect no answer. Raises: NotReady."""
        if not self.channel.send(data):
            raise NotReady(f"the connection to {self.path} was lost")

    def disconnect(self) -> None:
        """Drop the connection; it comes back by itself."""
        if self._channel:
            self._channel.close()

    def handshake_complete(self, channel: Channel) -> None:
        """Use this channel from now on. The channel calls it when its handshake is complete."""
        self._channel = channel
        LOG.info("connected to the bridge at %s", self.path)
        hub.spawn(self._call_on_up)

    def _call_on_up(self) -> None:
        try:
            self._on_up()
        except Exception:
            LOG.exception("what should happen after a connection failed")

    def _down(self, reason: str) -> None:
        channel, self._channel = self._channel, None
        self._reason = reason
        if channel:
            channel.connection_lost()
            LOG.warning("%s", reason)

    def _run(self) -> None:
        pause = RECONNECT
        while True:
            self._retry.clear()
            if self._obstacle() is None:
                pause = min(2 * pause, LONGEST_RECONNECT) if self._attempt() else RECONNECT
            if self._retry.wait(pause):
                pause = RECONNECT

    def _attempt(self) -> bool:
        """Connect and serve until the connection ends. Returns: whether the switch refused to speak to us."""
        try:
            channel = Channel(hub.connect_unix(self.path), self)
        except OSError as error:
            self._reason = (f"no OpenFlow connection to {self.path}: {os.strerror(error.errno or 0)} "
                            "(does ovs-vswitchd run, and does the bridge exist?)")
            return False
        try:
            channel.serve()
        except OSError:
            pass  # it is lost, as told below
        except Exception:
            LOG.exception("the connection to %s failed", self.path)
        finally:
            channel.close()
            refusal = channel.refusal and f"no OpenFlow connection to {self.path}: {channel.refusal}"
            self._down(refusal or f"the connection to {self.path} was lost")
        return channel.refusal is not None
