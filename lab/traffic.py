# SPDX-License-Identifier: Apache-2.0
"""Traffic tools, run inside a namespace as ``python -m lab.traffic COMMAND``; results are JSON on stdout.

``serve`` is what runs in a VM: HTTP, TCP transfers, UDP echo, a line echo, and a look at incoming pings. It
prints one line of JSON for everything it sees: that is what "the VM saw", without a packet capture.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

HTTP_PORT = 80
TRANSFER_PORT = 5001
UDP_PORT = 5002
LINES_PORT = 5003
_BLOCK = 256 * 1024
_MAGIC = b"fip64lab"


def _print(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


# What runs in the VM


class _Seen:
    """Reports what came in; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, what: str, peer: str, **values: Any) -> None:
        with self._lock:
            _print(what=what, peer=peer, time=time.time(), **values)


def _listen(bind: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(_family(bind), kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((bind, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


def _accept(listener: socket.socket, handler, *args: Any) -> None:
    def handle(connection: socket.socket, peer: tuple) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(30)
            handler(connection, peer, *args)

    while True:
        connection, peer = listener.accept()
        threading.Thread(target=handle, args=(connection, peer), daemon=True).start()


def _serve_http(connection: socket.socket, peer: tuple, name: str, seen: _Seen) -> None:
    with connection.makefile("rb") as reader:
        request = reader.readline(4096).decode(errors="replace").split()
        while reader.readline(4096).strip():
            pass
    seen("http", peer[0], port=peer[1], request=" ".join(request[:2]))
    body = json.dumps({"vm": name, "you_are": peer[0], "i_am": connection.getsockname()[0]}).encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


def _blocks(size: int) -> Iterator[bytes]:
    """Yield `size` bytes, different in each block, cheaper than new random data all along."""
    block = os.urandom(_BLOCK)
    number = 0
    while size > 0:
        part = (struct.pack("!Q", number) + block)[:min(_BLOCK, size)]
        yield part
        size -= len(part)
        number += 1


def _send_blocks(sock: socket.socket, size: int) -> str:
    digest = hashlib.sha256()
    for part in _blocks(size):
        digest.update(part)
        sock.sendall(part)
    return digest.hexdigest()


def _receive(reader, size: int) -> tuple[str, int]:
    """Return SHA-256 and count of what arrives, up to `size` bytes."""
    digest = hashlib.sha256()
    left = size
    while left and (part := reader.read1(min(left, _BLOCK))):
        digest.update(part)
        left -= len(part)
    return digest.hexdigest(), size - left


def _serve_transfer(connection: socket.socket, peer: tuple, seen: _Seen) -> None:
    """One line of JSON asks: {"put": n} sends n bytes, {"get": n} wants n bytes; the answer has our hash."""
    with connection.makefile("rb") as reader:
        request = json.loads(reader.readline(4096))
        if "put" in request:
            digest, size = _receive(reader, int(request["put"]))
        else:
            size = int(request["get"])
            digest = _send_blocks(connection, size)
    seen("tcp", peer[0], port=peer[1], size=size, sha256=digest, way="in" if "put" in request else "out")
    connection.sendall(json.dumps({"sha256": digest, "size": size, "peer": peer[0]}).encode() + b"\n")


def _serve_udp(sock: socket.socket, seen: _Seen) -> None:
    while True:
        data, peer = sock.recvfrom(65535)
        seen("udp", peer[0], port=peer[1], size=len(data), sha256=hashlib.sha256(data).hexdigest())
        with contextlib.suppress(OSError):
            sock.sendto(data, peer)


def _serve_lines(connection: socket.socket, peer: tuple, seen: _Seen) -> None:
    lines = []
    with connection.makefile("rb") as reader:
        for line in reader:
            lines.append(line.decode(errors="replace").rstrip("\n"))
            connection.sendall(line)
    seen("lines", peer[0], port=peer[1], lines=lines)


def _watch_pings(sock: socket.socket, request_type: int, seen: _Seen) -> None:
    """Report the first echo request of each source."""
    known = set()
    while True:
        data, peer = sock.recvfrom(65535)
        if sock.family == socket.AF_INET:
            data = data[(data[0] & 15) * 4:]
        if data[:1] == bytes([request_type]) and peer[0] not in known:
            known.add(peer[0])
            seen("ping", peer[0], size=len(data) - 8)


def serve(name: str, bind: str) -> None:
    """Serve until SIGTERM; prints {"ready": true} once everything listens."""
    seen = _Seen()
    http = _listen(bind, HTTP_PORT, socket.SOCK_STREAM)
    transfer = _listen(bind, TRANSFER_PORT, socket.SOCK_STREAM)
    lines = _listen(bind, LINES_PORT, socket.SOCK_STREAM)
    udp = _listen(bind, UDP_PORT, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    if http.family == socket.AF_INET:
        pings, request_type = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), 8
    else:
        pings, request_type = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6), 128
    for function, args in ((_accept, (http, _serve_http, name, seen)),
                           (_accept, (transfer, _serve_transfer, seen)),
                           (_accept, (lines, _serve_lines, seen)),
                           (_serve_udp, (udp, seen)),
                           (_watch_pings, (pings, request_type, seen))):
        threading.Thread(target=function, args=args, daemon=True).start()
    _print(ready=True)
    threading.Event().wait()


# What runs in the client


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class Pinger:
    """Sends echo requests at a steady rate and knows each one that got no answer."""

    def __init__(self, destination: str, size: int) -> None:
        self._v6 = ":" in destination
        self._request = 128 if self._v6 else 8
        self._reply = 129 if self._v6 else 0
        self._sock = socket.socket(_family(destination), socket.SOCK_RAW,
                                   socket.IPPROTO_ICMPV6 if self._v6 else socket.IPPROTO_ICMP)
        self._sock.connect((destination, 0))  # takes replies from there only
        self._sock.setblocking(False)
        self._id = int.from_bytes(os.urandom(2))
        self._padding = bytes(max(0, (size + 1) // 2 * 2 - 20))
        self._sent: dict[int, float] = {}
        self._rtts: dict[int, float] = {}
        self.sent = 0
        self.duplicates = 0
        self.unreachable: str | None = None

    def _send(self) -> None:
        number = self.sent
        self.sent += 1
        body = _MAGIC + struct.pack("!I", number) + bytes(8) + self._padding
        header = struct.pack("!BBHHH", self._request, 0, 0, self._id, number & 0xFFFF)
        if not self._v6:  # the kernel fills in ICMPv6 checksums only
            header = header[:2] + struct.pack("!H", _checksum(header + body)) + header[4:]
        self._sent[number] = time.monotonic()
        try:
            self._sock.send(header + body)
        except OSError as error:  # no route, no neighbor: it counts as lost
            self.unreachable = error.strerror

    def _receive(self) -> None:
        now = time.monotonic()
        while True:
            try:
                data = self._sock.recv(65535)
            except BlockingIOError:
                return
            except OSError as error:
                self.unreachable = error.strerror
                continue
            if not self._v6:
                data = data[(data[0] & 15) * 4:]
            if data[0] != self._reply or data[4:6] != struct.pack("!H", self._id) or data[8:16] != _MAGIC:
                continue
            number = int.from_bytes(data[16:20])
            if number in self._rtts:
                self.duplicates += 1
            elif number in self._sent:
                self._rtts[number] = now - self._sent[number]

    def run(self, interval: float, count: int | None, wait: float, first: bool,
            stop: threading.Event) -> None:
        """Send one request each `interval` s, `count` in all (None: until `stop`), then wait up to `wait` s.

        `first`: the first answer ends it.
        """
        start = time.monotonic()
        while (count is None or self.sent < count) and not stop.is_set() and not (first and self._rtts):
            pause = start + self.sent * interval - time.monotonic()
            if pause <= 0:
                self._send()
                pause = 0
            if select.select([self._sock], [], [], pause)[0]:
                self._receive()
        deadline = time.monotonic() + wait
        while (len(self._rtts) < (1 if first else self.sent)
               and (left := deadline - time.monotonic()) > 0):
            if select.select([self._sock], [], [], left)[0]:
                self._receive()

    def result(self) -> dict[str, Any]:
        rtts = sorted(1000 * rtt for rtt in self._rtts.values())
        lost = [number for number in range(self.sent) if number not in self._rtts]
        return {"sent": self.sent, "received": len(rtts), "lost": lost, "duplicates": self.duplicates,
                "unreachable": self.unreachable,
                "rtt_max": rtts[-1] if rtts else None,
                "rtt_median": rtts[len(rtts) // 2] if rtts else None}


def ping(destination: str, interval: float, count: int | None, size: int, wait: float,
         first: bool) -> dict[str, Any]:
    """Times are in milliseconds, `lost` has sequence numbers from 0."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pinger = Pinger(destination, size)
    if count is None:
        _print(started=True)
    pinger.run(interval, count, wait, first, stop)
    return pinger.result()


def _connect(destination: str, port: int, timeout: float) -> socket.socket:
    return socket.create_connection((destination, port), timeout)


def http_get(destination: str, port: int, timeout: float) -> dict[str, Any]:
    """Fetch / ; `answer` is what the server said about us."""
    start = time.monotonic()
    host = f"[{destination}]" if ":" in destination else destination
    with _connect(destination, port, timeout) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        with sock.makefile("rb") as reader:
            data = reader.read()
    head, _, body = data.partition(b"\r\n\r\n")
    return {"status": int(head.split()[1]), "answer": json.loads(body), "seconds": time.monotonic() - start}


def transfer(destination: str, size: int, way: str, timeout: float) -> dict[str, Any]:
    """Send or fetch `size` bytes over TCP and compare SHA-256 of both ends."""
    with _connect(destination, TRANSFER_PORT, timeout) as sock, sock.makefile("rb") as reader:
        start = time.monotonic()
        sock.sendall(json.dumps({way: size}).encode() + b"\n")
        if way == "put":
            ours, count = _send_blocks(sock, size), size
            answer = json.loads(reader.readline())
        else:
            ours, count = _receive(reader, size)
            answer = json.loads(reader.readline())
        seconds = time.monotonic() - start
    return {"size": count, "sha256": ours, "peer_sha256": answer["sha256"], "seen_as": answer["peer"],
            "equal": ours == answer["sha256"] and count == answer["size"] == size,
            "seconds": seconds, "bits_per_second": 8 * size / seconds}


def udp(destination: str, size: int, count: int, timeout: float) -> dict[str, Any]:
    """Send datagrams of `size` bytes, one at a time, each to come back unchanged (fragments both ways)."""
    equal = 0
    hashes = []
    with socket.socket(_family(destination), socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.connect((destination, UDP_PORT))
        for _ in range(count):
            data = os.urandom(size)
            hashes.append(hashlib.sha256(data).hexdigest())
            sock.send(data)
            with contextlib.suppress(OSError):
                equal += sock.recv(65535) == data
    return {"sent": count, "equal": equal, "size": size, "sha256": hashes}


def lines(destination: str, name: str, count: int, timeout: float) -> dict[str, Any]:
    """Send `count` lines "NAME number", one at a time; each must come back."""
    equal = 0
    with _connect(destination, LINES_PORT, timeout) as sock, sock.makefile("rb") as reader:
        for number in range(count):
            line = f"{name} {number}\n".encode()
            sock.sendall(line)
            equal += reader.readline() == line
        local = sock.getsockname()
    return {"sent": count, "equal": equal, "port": local[1]}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.traffic", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, *arguments: tuple[str, dict[str, Any]], destination: bool = True) -> None:
        sub = commands.add_parser(name)
        if destination:
            sub.add_argument("destination")
        for flag, options in arguments:
            sub.add_argument(flag, **options)

    timeout = ("--timeout", {"type": float, "default": 10.0})
    command("serve", ("--name", {"default": "server"}), ("--bind", {"default": "0.0.0.0"}), destination=False)
    command("ping", ("--interval", {"type": float, "default": 0.01}), ("--count", {"type": int}),
            ("--size", {"type": int, "default": 56}), ("--wait", {"type": float, "default": 1.0}),
            ("--first", {"action": "store_true"}))
    command("http-get", ("--port", {"type": int, "default": HTTP_PORT}), timeout)
    command("transfer", ("--size", {"type": int, "default": 1 << 20}),
            ("--way", {"choices": ("put", "get"), "default": "put"}), timeout)
    command("udp", ("--size", {"type": int, "default": 32768}),
            ("--count", {"type": int, "default": 1}), timeout)
    command("lines", ("--name", {"default": "client"}),
            ("--count", {"type": int, "default": 100}), timeout)
    options = vars(parser.parse_args(argv))
    function = {"serve": serve, "ping": ping, "http-get": http_get, "transfer": transfer, "udp": udp,
                "lines": lines}[options.pop("command")]
    try:
        result = function(**options)
    except (OSError, ValueError, IndexError) as error:
        _print(error=f"{type(error).__name__}: {error}")
        return 1
    if result is not None:
        _print(**result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
