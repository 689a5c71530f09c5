# SPDX-License-Identifier: Apache-2.0
"""The only module that knows eventlet.

Nothing is monkey patched (vpp_papi and pyroute2 break under it): green code uses what this
module hands out, and whatever blocks goes through `offload()`. Greenthreads run in the hub's
thread; from any other thread only `Notifier.notify()` may be called.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import socket as native_socket
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# os-ken picks its hub at its first import, and its default is native threads.
os.environ["OSKEN_HUB_TYPE"] = "eventlet"
# The C library resolves the few names that the configuration may have. eventlet's own resolver would load
# dnspython and cryptography, which take 15 MiB and a tenth of a second.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # eventlet announces at import that it is in maintenance mode
    import eventlet
    import eventlet.event
    import eventlet.hubs
    import eventlet.semaphore
    import eventlet.tpool
    import eventlet.wsgi
    from eventlet.green import socket

LOG = logging.getLogger(__name__)

_ROWS_PER_TURN = 500
"""After so many rows, yielding() lets other greenthreads run."""

Semaphore = eventlet.semaphore.Semaphore
Timeout = eventlet.Timeout
sleep = eventlet.sleep


class Event:
    """A flag that greenthreads can wait for."""

    def __init__(self) -> None:
        self._flag = False
        self._waiters: set[eventlet.event.Event] = set()

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._flag

    def set(self) -> None:
        """Set the flag and wake all who wait. May be called again."""
        self._flag = True
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            waiter.send(None)

    def clear(self) -> None:
        """Take the flag back."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until set or `timeout` seconds have passed; return whether it is set."""
        if self._flag:
            return True
        waiter = eventlet.event.Event()
        self._waiters.add(waiter)
        with Timeout(timeout, False):
            waiter.wait()
        self._waiters.discard(waiter)
        return self._flag


def spawn(function: Callable, *args: Any, **kwargs: Any):
    """Run `function` in a new greenthread; returns it (it has kill() and wait())."""
    return eventlet.spawn(function, *args, **kwargs)


def yielding(rows: Iterable) -> Iterator:
    """Yield the rows, and let other greenthreads work after every few hundred of them."""
    for number, row in enumerate(rows):
        if number % _ROWS_PER_TURN == _ROWS_PER_TURN - 1:
            sleep(0)
        yield row


def offload(function: Callable, *args: Any, lock: Semaphore | None = None, **kwargs: Any) -> Any:
    """Run a blocking `function` in a native thread while other greenthreads go on.

    `lock`: a hub.Semaphore that belongs to the client object used, where that object
    cannot be used by two threads at once. Exceptions of `function` are raised here.
    Called from outside the hub's thread (a thread that was offloaded already), runs in place.
    """
    if threading.current_thread() is not threading.main_thread():
        return function(*args, **kwargs)
    with lock if lock is not None else contextlib.nullcontext():
        return eventlet.tpool.execute(function, *args, **kwargs)


class NativeThread:
    """A native thread of its own, for objects that must be used by the thread that made them."""

    def __init__(self, name: str) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def run(self, function: Callable, *args: Any) -> Any:
        """Run a blocking `function` there, one at a time; raises what it raises."""
        return offload(lambda: self._pool.submit(function, *args).result())

    def close(self) -> None:
        """End the thread after what it does now; what waits for it is not done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Notifier:
    """Lets native threads and signal handlers wake the hub: `callback` runs in a greenthread.

    Notifications that arrive while the callback has not started yet coalesce into one call.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._reader, self._writer = native_socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._thread = spawn(self._run)

    def notify(self) -> None:
        """Have the callback called. May be called from any thread and from signal handlers."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._writer.send(b"x")

    def _run(self) -> None:
        green = socket.socket(fileno=os.dup(self._reader.fileno()))
        while green.recv(4096):
            try:
                self._callback()
            except Exception:  # without this, later notifications would have no effect
                LOG.exception("what should follow a notification failed")

    def close(self) -> None:
        """Stop listening: the callback is not called any more."""
        self._thread.kill()
        self._reader.close()
        self._writer.close()


def wait_readable(fileno: int, timeout: float | None = None) -> bool:
    """Wait until the file descriptor (a pidfd, inotify, a pipe) is readable; False on timeout."""
    # A native thread may have closed another descriptor with this number, which eventlet has not noticed.
    eventlet.hubs.notify_opened(fileno)
    try:
        eventlet.hubs.trampoline(fileno, read=True, timeout=timeout)
    except Timeout:
        return False
    return True


def connect_unix(path: str):
    """Return a green stream socket connected to the unix socket `path`.

    Raises: OSError; BlockingIOError when the listener's queue is full. There is no way to wait for room in
    that queue: the socket counts as writable meanwhile, and eventlet would try again without a pause.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.fd.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def listen_unix(path: str, mode: int = 0o600):
    """Return a green socket that listens on the unix socket `path`, which never has another mode.

    Raises: OSError.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.listen(16)
    return sock


def listen_tcp(host: str, port: int):
    """Return a green socket that listens on TCP. Raises: OSError."""
    family = native_socket.AF_INET6 if ":" in host else native_socket.AF_INET
    # With reuse_port, two agents could share the port.
    return eventlet.listen((host, port), family=family, reuse_port=False)


class _Protocol(eventlet.wsgi.HttpProtocol):
    """Logs without the peer's IP address, which the standard library wants and a unix socket does not have: a
    bad request would end in a traceback."""

    def log_message(self, form: str, *args: Any) -> None:
        LOG.debug("HTTP: " + form, *args)


class WsgiServer:
    """Serves a WSGI application on a listening green socket, between serve() and stop().

    most: connections that are served at a time; others wait. seconds: after so long without a word from the
    client, its connection is closed.
    """

    def __init__(self, application: Callable, most: int, seconds: float = 30) -> None:
        self._application, self._most, self._seconds = application, most, seconds
        self._socket = self._thread = None

    def serve(self, sock) -> None:
        """Serve what connects to `sock`, in a greenthread of its own."""
        self._socket = sock
        self._thread = spawn(eventlet.wsgi.server, sock, self._application, debug=False, log_output=False,
                             keepalive=False, socket_timeout=self._seconds, max_size=self._most,
                             protocol=_Protocol)

    def stop(self) -> None:
        """Serve no more, and close the socket. May be called again, and before serve()."""
        if self._thread is not None:
            self._thread.kill()
            self._socket.close()
