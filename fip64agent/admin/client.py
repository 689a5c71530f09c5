# SPDX-License-Identifier: Apache-2.0
"""The client of the admin socket: HTTP over a unix socket. Imports little, as each fip64ctl starts anew."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import os
import socket
import stat
import string
import struct
import time
from typing import Any
from urllib.parse import quote, urlencode

DEFAULT_CONFIG = "/etc/fip64agent/fip64agent.conf"
DEFAULT_RUN_PATH = "/run/fip64agent"
DEFAULT_SOCKET = "$run_path/admin.sock"
TIMEOUT = 60.0
"""Seconds to wait for an answer: reading 10,000 objects back takes a while."""

_RETRY_PAUSE = 0.02
"""Seconds between two tries to connect."""


class Unreachable(Exception):
    """The agent does not answer; the message says why and what to do."""


class RequestRefused(Exception):
    """The agent answered with an error. `status`: the HTTP status; 0: the agent was not asked."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the unix socket at `path`; `timeout` in seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect, and try again while the listener's queue is full. Raises: OSError, TimeoutError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return self.sock.connect(self._path)
            except BlockingIOError:  # the listener's queue is full: the agent is busy, and many ask
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_RETRY_PAUSE)


def socket_from(config_file: str | None = None) -> str:
    """Return the admin socket's path as the agent's configuration names it, or the default.

    Without `config_file`, the default file is taken if it is there and readable.
    Raises: OSError or ValueError when `config_file` cannot be used.
    """
    parser = configparser.RawConfigParser(strict=False, default_section="DEFAULT")
    try:
        with open(config_file or DEFAULT_CONFIG, encoding="utf-8") as file:
            parser.read_file(file)
    except (configparser.Error, UnicodeDecodeError) as error:
        if config_file:
            raise ValueError(str(error).replace("\n", " ")) from error
    except OSError:
        if config_file:
            raise
    defaults = parser.defaults()
    path = DEFAULT_SOCKET
    if parser.has_section("admin"):
        path = parser["admin"].get("socket", path)
    run_path = defaults.get("run_path", DEFAULT_RUN_PATH)
    return string.Template(path).safe_substitute({**defaults, "run_path": run_path})


def listener(path: str) -> int | None:
    """Return the id of the process that listens on the unix socket `path`; None when nobody does.

    0 when somebody listens whose id is unknown. Raises: OSError when it cannot be found out.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(5)
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except (TimeoutError, BlockingIOError):
            return 0  # its queue is full: a process listens, and hangs
        pid, _uid, _gid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if pid > 0:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None  # a child that it forked still has the socket, but never accepts
        except PermissionError:
            pass
    return pid


def is_listening(path: str) -> bool:
    """Return whether an agent has its admin socket at `path`."""
    with contextlib.suppress(OSError):
        return listener(path) is not None
    return False


class Client:
    """Asks the agent. Each call opens a connection of its own. `timeout`: seconds until an answer."""

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        self.path = path
        self._timeout = timeout

    def get(self, *parts: str, **query: Any) -> Any:
        """GET /parts...?query and return the decoded JSON; a query value of None is left out.

        Raises: Unreachable, RequestRefused.
        """
        # Octets of the command line that are not UTF-8 are sent unchanged; no object has such a name.
        target = "/" + "/".join(quote(part, safe="", errors="surrogateescape") for part in parts)
        arguments = urlencode({name: value for name, value in query.items() if value is not None},
                              errors="surrogateescape")
        connection = UnixConnection(self.path, self._timeout)
        try:
            connection.request("GET", f"{target}?{arguments}" if arguments else target)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self._explain(error)) from error
        finally:
            connection.close()
        try:
            answer = json.loads(body)
        except ValueError:
            raise RequestRefused(status, f"{self.path} answers, but not as fip64-agent does "
                                  f"(HTTP status {status})") from None
        if status != 200:
            message = answer.get("error") if isinstance(answer, dict) else None
            raise RequestRefused(status, str(message or f"HTTP status {status}"))
        return answer

    def _explain(self, error: Exception) -> str:
        path = self.path
        if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
            return f"{path} is no socket: it cannot be the agent's admin socket (--socket, --config-file)"
        match error:
            case FileNotFoundError():
                return (f"the agent is not running: there is no admin socket {path}. Start it: "
                        "systemctl start fip64-agent (or name its socket: --socket, --config-file)")
            case ConnectionRefusedError():
                return (f"the agent is not running: nobody answers on the admin socket {path}. Start it: "
                        "systemctl start fip64-agent; see why it ended: journalctl -u fip64-agent")
            case PermissionError():
                return f"no permission for the admin socket {path}: run fip64ctl as root"
            case TimeoutError():
                return (f"the agent does not answer on {path} within {self._timeout:g} s: it hangs or is "
                        "overloaded. Look at: systemctl status fip64-agent, journalctl -u fip64-agent")
        return f"the agent cannot be asked on {path}: {error or type(error).__name__}"
