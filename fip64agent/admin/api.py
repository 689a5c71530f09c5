# SPDX-License-Identifier: Apache-2.0
"""The admin API: HTTP and JSON on a unix socket that only root may open.

``GET`` of /status, of what the listings of the kinds have (/uplinks, /fips, /fips/<id or address>),
/clients[?router=&client=], /plan, /diff, /flows[?feature=&table=], /trace?fip=[&client=][&live=]. An error
is ``{"error": "..."}`` with the HTTP status: 400 bad request, 404 nothing by that name, 405 only GET, 503 a
component cannot be asked now, 500 a fault of ours (logged with its traceback; the agent goes on).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable
from ipaddress import IPv6Network
from typing import Any
from urllib.parse import parse_qsl

from fip64agent import hub
from fip64agent.admin import client, clients, flows, report, trace
from fip64agent.admin.listing import Listing, listed
from fip64agent.admin.state import States
from fip64agent.exceptions import AlreadyRunning, ConfigError, NotReady, PermissionDenied
from fip64agent.plan.kinds import kinds

LOG = logging.getLogger(__name__)

DEADLINE = 55
"""Seconds until a request is given up; less than fip64ctl waits."""
LONGEST_WATCH = 30
"""Seconds for which live packets can be waited for."""
_PATH_MAX = 107
"""Longest path of a unix socket, in bytes (unix(7))."""


class _HttpError(Exception):
    def __init__(self, status: http.HTTPStatus, message: str) -> None:
        self.status = status
        super().__init__(message)


def _bad(message: str) -> _HttpError:
    return _HttpError(http.HTTPStatus.BAD_REQUEST, message)


class Application:
    """The WSGI application."""

    def __init__(self, agent) -> None:
        self._agent = agent
        self._heavy = hub.Semaphore()
        """Reading everything back is done once at a time, however many ask."""
        lists = {listing.path: listing for listing in listed().values() if listing.path}
        self._with_details = {path for path, listing in lists.items() if listing.details}
        self._routes: dict[str, tuple[Callable[..., Any], frozenset[str]]] = {
            "status": (self._status, frozenset()),
            **{path: (functools.partial(self._objects, listing), frozenset())
               for path, listing in lists.items()},
            "clients": (self._clients, frozenset({"router", "client"})),
            "plan": (self._plan, frozenset()),
            "diff": (self._diff, frozenset()),
            "flows": (self._flows, frozenset({"feature", "table"})),
            "trace": (self._trace, frozenset({"fip", "client", "live"})),
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        try:
            with hub.Timeout(DEADLINE):
                status, body = http.HTTPStatus.OK, self._answer(environ)
        except _HttpError as error:
            status, body = error.status, {"error": str(error)}
        except NotReady as error:
            status, body = http.HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}
        except hub.Timeout:
            status, body = http.HTTPStatus.GATEWAY_TIMEOUT, {"error": f"not done within {DEADLINE} s"}
        except Exception as error:
            LOG.exception("admin API: %s %s failed", environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
            status = http.HTTPStatus.INTERNAL_SERVER_ERROR
            body = {"error": f"internal error: {type(error).__name__}: {error} (the agent's log has more)"}
        # Thousands of rows take a while to encode: others work meanwhile.
        data = hub.offload(lambda: json.dumps(body, default=str).encode() + b"\n")
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET"))
        start_response(f"{status.value} {status.phrase}", headers)
        return [data]

    def _answer(self, environ: dict[str, Any]) -> Any:
        if environ["REQUEST_METHOD"] != "GET":
            raise _HttpError(http.HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered: nothing can be "
                                                                 "changed here, the topology source decides")
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # PEP 3333 has it as bytes
        name, *rest = path.removeprefix("/").split("/")
        if name not in self._routes:
            known = ", ".join(f"/{route}" for route in self._routes)
            raise _HttpError(http.HTTPStatus.NOT_FOUND, f"no /{name} here; there is {known}")
        handler, parameters = self._routes[name]
        query = self._query(environ.get("QUERY_STRING", ""), parameters)
        below = name in self._with_details
        if (rest not in ([], [""]) and not below) or len(rest) > 1:
            raise _HttpError(http.HTTPStatus.NOT_FOUND, f"/{name} has nothing below it")
        return handler(*(rest if below else ()), **query)

    @staticmethod
    def _query(text: str, allowed: frozenset[str]) -> dict[str, str]:
        query: dict[str, str] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            if name not in allowed:
                raise _bad(f"unknown parameter {name!r}; known: {', '.join(sorted(allowed)) or 'none'}")
            if name in query:
                raise _bad(f"parameter {name!r} is given twice")
            query[name] = value
        return query

    # -- handlers ---------------------------------------------------------------------------

    def _status(self) -> Any:
        return report.status(self._agent)

    def _objects(self, listing: Listing, what: str | None = None) -> Any:
        if what is None:
            return report.objects(self._agent, listing)
        return report.details(self._agent, listing, self._id(listing, what))

    def _clients(self, router: str | None = None, client: str | None = None) -> Any:
        try:
            within = IPv6Network(client) if client is not None else None
        except ValueError as error:
            raise _bad(f"client {client!r} is neither an IPv6 address nor a prefix: {error}") from None
        router_id = self._router_id(router) if router is not None else None
        with self._heavy:
            return clients.rows(self._agent, router_id, within)

    def _plan(self) -> Any:
        return hub.offload(report.plan, self._agent)

    def _diff(self) -> Any:
        with self._heavy:
            return report.diff(self._agent)

    def _flows(self, feature: str | None = None, table: str | None = None) -> Any:
        with self._heavy:
            rows = flows.rows(self._agent)
        try:
            return flows.select(rows, feature, table)
        except ValueError as error:
            raise _bad(str(error)) from None

    def _trace(self, fip: str | None = None, client: str | None = None, live: str | None = None) -> Any:
        if not fip:
            raise _bad("parameter 'fip' is missing: the id or the address of a floating IP")
        if live is not None and not (live.isascii() and live.isdigit() and 1 <= int(live) <= LONGEST_WATCH):
            raise _bad(f"parameter 'live' is not a number of seconds from 1 to {LONGEST_WATCH}: {live!r}")
        try:
            return trace.trace(self._agent, self._id(listed()[trace.KIND], fip), client,
                               int(live) if live else None)
        except ValueError as error:
            raise _bad(str(error)) from None

    # -- names ------------------------------------------------------------------------------

    def _id(self, listing: Listing, what: str) -> str:
        """Return the id of what has that name. Raises: _HttpError when nothing has."""
        found = listing.details.find(States(self._agent), what)
        if found is None:
            names = " or ".join(f"the {name}" for name in listing.details.known_by)
            where = " of the topology" if kinds()[listing.kind].resource else ""
            raise _HttpError(http.HTTPStatus.NOT_FOUND,
                             f"no {listing.title} has {names} {what or repr(what)}; "
                             f"fip64ctl {listing.kind} list shows all{where}")
        return found

    def _router_id(self, what: str) -> str:
        found = clients.find_router(States(self._agent), what)
        if found is None:
            raise _HttpError(http.HTTPStatus.NOT_FOUND, f"no router has the id or the name {what}")
        return found


class AdminServer:
    """Serves the API on the unix socket `path`, mode 0600."""

    def __init__(self, agent, path: str) -> None:
        self.path = path
        self._server = hub.WsgiServer(Application(agent), most=64)
        self._inode: tuple[int, int] | None = None

    def start(self) -> None:
        """Listen and serve. A socket file that nobody listens on any more is replaced.

        Raises: AlreadyRunning when somebody does, ConfigError, PermissionDenied; all name the socket.
        """
        if len(os.fsencode(self.path)) > _PATH_MAX:
            raise ConfigError(f"[admin] socket: {self.path} is longer than {_PATH_MAX} bytes")
        try:
            sock = self._listen()
        except PermissionError as error:
            raise PermissionDenied(f"[admin] socket: {self.path}: {error.strerror}") from error
        except OSError as error:
            raise ConfigError(f"[admin] socket: {self.path}: {error.strerror or error}") from error
        status = os.stat(self.path)
        self._inode = (status.st_dev, status.st_ino)
        self._server.serve(sock)

    def _listen(self):
        directory = os.path.dirname(os.path.abspath(self.path))
        os.makedirs(directory, mode=0o755, exist_ok=True)
        # Two agents that start at once must not both find the other's socket stale.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._remove_stale()
            return hub.listen_unix(self.path, 0o600)
        finally:
            os.close(descriptor)

    def _remove_stale(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                raise ConfigError(f"[admin] socket: {self.path} exists and is not a socket")
            pid = client.listener(self.path)
            if pid is not None:
                who = f" (process {pid})" if pid else ""
                raise AlreadyRunning(f"another agent{who} answers on the admin socket {self.path}: stop it "
                                     "first, or give this one a socket of its own in [admin] socket")
            LOG.info("the admin socket %s was left behind by an agent that ended; replaced", self.path)
            os.unlink(self.path)

    def stop(self) -> None:
        """Stop serving and remove the socket, if it is still ours. May be called again."""
        self._server.stop()
        with contextlib.suppress(OSError):
            status = os.stat(self.path)
            if (status.st_dev, status.st_ino) == self._inode:
                os.unlink(self.path)
        self._inode = None
