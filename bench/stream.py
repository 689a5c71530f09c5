# SPDX-License-Identifier: Apache-2.0
"""Traffic for benchmarks, run in a namespace as ``python -m bench.stream``; the result is JSON on stdout.

serve BIND; send ADDRESS SECONDS; ping ADDRESS COUNT INTERVAL
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

from lab.traffic import Pinger

PORT = 5011
_BLOCK = bytes(256 * 1024)


def serve(bind: str) -> None:
    """For each connection: swallow what comes; after the end tell how much it was and how long it took."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    buffer = bytearray(len(_BLOCK))
    with socket.create_server((bind, PORT), family=family) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                begun = time.monotonic()
                size = 0
                while count := connection.recv_into(buffer):
                    size += count
                seconds = time.monotonic() - begun
                connection.sendall(json.dumps({"bytes": size, "seconds": seconds}).encode())


def send(address: str, seconds: float) -> dict[str, float]:
    """Send over TCP for so many seconds; return what the receiver counted."""
    with socket.create_connection((address, PORT), 10) as sock:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            sock.sendall(_BLOCK)
        sock.shutdown(socket.SHUT_WR)
        return json.loads(sock.recv(4096))


def ping(address: str, count: int, interval: float) -> dict[str, object]:
    """Round trip times in milliseconds, sorted."""
    pinger = Pinger(address, 56)
    pinger.run(interval, count, 1.0, False, threading.Event())
    return {"sent": pinger.sent, "rtts": sorted(1000 * rtt for rtt in pinger._rtts.values())}


def main() -> None:
    command, *argv = sys.argv[1:]
    if command == "serve":
        serve(argv[0])
    elif command == "send":
        print(json.dumps(send(argv[0], float(argv[1]))))
    else:
        print(json.dumps(ping(argv[0], int(argv[1]), float(argv[2]))))


if __name__ == "__main__":
    main()
