# SPDX-License-Identifier: Apache-2.0
"""Keeps a connection to a VPP: starts or adopts it, probes it, starts it again.

VPP is not up (ready() says why), then it is up (`client`), then it is lost, and so on. The same steps bring
it up at the agent's start, after VPP's end and after a lost connection. Green; what blocks is offloaded.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable

from fip64agent import hub
from fip64agent.exceptions import Fip64Error
from fip64agent.translator.vpp import startup
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppIncompatible, VppUnavailable
from fip64agent.translator.vpp.managed import ManagedVpp
from fip64agent.translator.vpp.probe import Probe
from fip64agent.translator.vpp.process import Process
from fip64agent.translator.vpp.startup import StartupOptions

LOG = logging.getLogger(__name__)

STARTING = "VPP is starting"
"""The reason until the first attempt to bring it up has ended, or a process was started."""
_VARYING = re.compile(r"\(pid \d+\)|0x[0-9a-f]+|\d[\d:.,/-]{3,}")
"""What differs between two messages about the same failure: process ids, addresses, times."""
_POLL = 0.02
"""Seconds between attempts to connect to a VPP that was just started."""
_RETRY = 1.0
"""Seconds between attempts to connect to an external VPP, or to one that speaks other messages."""
_ANSWER = 10.0
"""Seconds that a VPP which is up has for an answer, at least. The probe finds one that hangs earlier, which
ends all requests."""


def _notify(callback: Callable[..., None], *args: object) -> None:
    """Call a callback. When it raises an exception that is logged, and the supervision continues."""
    try:
        callback(*args)
    except Exception:
        LOG.exception("VPP's user failed")


class Supervisor:
    """Supervises one VPP, in a greenthread."""

    def __init__(self, options: StartupOptions, *, launch: str = "managed", binary: str = "vpp",
                 plugin_path: str = "", api_socket: str | None = None, stats_socket: str | None = None,
                 start_timeout: float = 20.0, probe_interval: float = 1.0, probe_timeout: float = 3.0,
                 on_up: Callable[[VppClient], None] = lambda client: None,
                 on_down: Callable[[str], None] = lambda reason: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """launch: "managed" or "external".

        options: of a managed VPP; plugin_directories are filled in from binary and plugin_path.
        api_socket, stats_socket: of an external VPP. start_timeout, probe_interval, probe_timeout: seconds.
        on_up(client), on_down(reason): called in the greenthread.
        """
        self.managed = launch == "managed"
        self.api_socket = options.api_socket if self.managed or api_socket is None else api_socket
        self.stats_socket = options.stats_socket if self.managed or stats_socket is None else stats_socket
        self.client: VppClient | None = None
        """None while there is no connection."""
        self.restarts = 0
        """How often VPP was lost."""
        self.probe = Probe(probe_timeout)
        self._wake = hub.Event()
        self._vpp = ManagedVpp(options, binary, plugin_path, self._wake.set, clock)
        """It has no process when VPP is external."""
        self._socket_removed: str | None = None
        self._start_timeout = start_timeout
        self._interval = probe_interval
        self._timeout = probe_timeout
        self._on_up = on_up
        self._on_down = on_down
        self._clock = clock
        self._reason: str | None = "VPP is not started yet"
        self._thread = None
        self._last_failure: str | None = None
        """Why the last attempt failed, without what _VARYING matches; None: it did not fail."""

    # -- for others -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to bring VPP up, in the background."""
        if self._thread is None:
            self._reason = STARTING
            self._thread = hub.spawn(self._run)

    def close(self) -> None:
        """Disconnect and watch no more; VPP continues to run."""
        if self._thread is not None:
            self._thread.kill()
        self._thread = None
        self._vpp.stop_watching()
        client, self.client = self.client, None
        if client is not None:
            client.close()
        self._reason = "closed"

    def ready(self) -> str | None:
        """Return None while VPP is up, else the reason why it is not."""
        return self._reason

    @property
    def process(self) -> Process | None:
        """The managed VPP, while there is one."""
        return self._vpp.process

    @property
    def failing(self) -> bool:
        """Whether the last attempt to bring VPP up has failed; ready() says why."""
        return self._last_failure is not None

    @property
    def next_start(self) -> float | None:
        """Seconds until VPP is started again; None when it runs, is external, or is not wanted."""
        if not self.managed or self._thread is None or self.process is not None:
            return None
        return self._vpp.back_off.wait(self._clock())

    @property
    def problem(self) -> str | None:
        """What an operator should know of a VPP that works: it is slow, has old options, lost its socket."""
        return "; ".join(filter(None, (self.probe.slow, self._vpp.outdated, self._socket_removed))) or None

    # -- bringing VPP up --------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            ends = self._vpp.back_off.ends
            try:
                self._wait_for_back_off()
                client = self._bring_up()
                self._came_up(client)
                self._went_down(self._watch(client))
            except VppIncompatible as error:
                self._note_failure(str(error))
                self._wait_for_another_vpp()
            except (Fip64Error, OSError) as error:
                self._note_failure(str(error))
                hub.sleep(_POLL if self.managed and self._vpp.back_off.ends != ends else _RETRY)
            except Exception as error:  # of any kind: the supervision must never end
                self._vpp.failed()
                LOG.exception("the supervision of VPP failed and begins anew")
                self._note_failure(f"{type(error).__name__}: {error}")
                hub.sleep(_RETRY)

    def _wait_for_back_off(self) -> None:
        """Wait until a VPP that has ended several times in a row may be started again."""
        while self.managed and (wait := self._vpp.back_off.wait(self._clock())) > 0:
            hub.sleep(min(wait, 0.5))

    def _note_failure(self, reason: str) -> None:
        """Keep why VPP is not up, for ready().

        The reconcile loop logs each new text that ready() returns. So the text stays the same while attempts
        fail for the same reason.
        """
        LOG.debug("no VPP: %s", reason)
        if (comparable := _VARYING.sub("#", reason)) != self._last_failure:
            self._last_failure, self._reason = comparable, reason

    def _bring_up(self) -> VppClient:
        """Return a connected client. Raises: Fip64Error, OSError with the reason."""
        if not self.managed:
            return self._connect()
        options = self._vpp.complete_options()
        if self._vpp.find(options):
            client = self._connect_to_managed()
            self._vpp.compare(options)
            return client
        self._vpp.start(options)
        LOG.log(logging.INFO if self._last_failure is None else logging.DEBUG, "VPP started: pid %d, %s",
                self.process.pid, startup.path(options))
        if self._last_failure is None:
            self._reason = f"VPP (pid {self.process.pid}) is starting"
        return self._connect_to_managed()

    def _connect_to_managed(self) -> VppClient:
        """Connect to a VPP of ours, which may still be starting; end it when it cannot be reached."""
        found = self.process
        reason = ""
        while self._vpp.end is None:
            try:
                client = self._connect()
            except VppIncompatible:
                raise
            except VppUnavailable as error:
                reason = str(error)
            else:
                if client.pid in (found.pid, None) or self._vpp.end is not None:
                    return client
                reason = (f"VPP (pid {client.pid}) answers at {self.api_socket}, "
                          f"where pid {found.pid} of this agent should")
                client.close()
            if found.age > self._start_timeout:
                self._vpp.failed()
                self._vpp.kill(found, f"VPP (pid {found.pid}) cannot be reached: {reason}")
                raise VppUnavailable(f"{reason}; VPP (pid {found.pid}) was killed and is started again")
            self._wake.clear()
            self._wake.wait(_POLL)
        self._vpp.failed()
        raise VppUnavailable(f"{self._vpp.end} while it started: "
                             f"{self._vpp.last_output() or 'it did not say why'}")

    def _connect(self) -> VppClient:
        """Connect. Raises: VppUnavailable, VppIncompatible."""
        client = VppClient(self.api_socket, timeout=max(self._timeout, 2.0),
                           on_lost=lambda why: self._wake.set())
        client.connect()
        return client

    def _wait_for_another_vpp(self) -> None:
        """Wait after VPP was found to have other messages: only another VPP or other files can help."""
        found = self.process
        if not self.managed or found is None:
            hub.sleep(_RETRY)
            return
        while self._vpp.end is None:
            if why := self._vpp.reason_to_restart():
                self._vpp.kill(found, f"VPP (pid {found.pid}) cannot be used, and {why}")
                break
            self._wake.clear()
            self._wake.wait(_RETRY)
        self._vpp.failed()

    # -- up ---------------------------------------------------------------------------------------

    def _came_up(self, client: VppClient) -> None:
        client.timeout = max(client.timeout, _ANSWER)
        self.client = client
        self._reason = self._last_failure = self.probe.slow = None
        self._vpp.back_off.runs(self._clock())
        LOG.info("VPP %s (pid %s) is up", client.version, client.pid)
        _notify(self._on_up, client)

    def _watch(self, client: VppClient) -> str:
        """Wait until VPP is lost; return the reason."""
        while True:
            self._wake.clear()
            if self._vpp.end is None and client.connected:
                self._wake.wait(self._interval)
            if self._vpp.end is None and not client.connected and self.process is not None:
                self._wake.clear()
                self._wake.wait(0.2)  # the connection ends a moment before the process
            if (end := self._vpp.wait_if_ending(self._wake)) is not None:
                return end
            if not client.connected:
                return f"VPP's API connection was lost: {client.lost}"
            if not self.probe.answered(client, self.process.pid if self.process is not None else None):
                return self._vpp.wait_if_ending(self._wake) or self._kill_hung()
            self._check_socket_and_log()

    def _kill_hung(self) -> str:
        if not self.managed or self.process is None:
            return f"VPP does not answer for {self._timeout:g} s; it is external, so it is left alone"
        reason = f"VPP (pid {self.process.pid}) hung: no answer for {self._timeout:g} s"
        self._vpp.kill(self.process, reason)
        return reason

    def _check_socket_and_log(self) -> None:
        """Check that VPP's API socket exists, and limit the size of its log."""
        if os.path.exists(self.api_socket):
            self._socket_removed = None
        elif self._socket_removed is None:
            self._socket_removed = (f"VPP's API socket {self.api_socket} was removed: this connection works, "
                                 "but no other can be made until VPP is restarted")
            LOG.warning("%s", self._socket_removed)
        if self.managed:
            self._vpp.bound_log()

    # -- the end of VPP ---------------------------------------------------------------------------

    def _went_down(self, reason: str) -> None:
        client, self.client = self.client, None
        if client is not None:
            client.close()
        if self._vpp.end is not None:
            words = self._vpp.last_output()
            reason = f"{reason}{words and ': '}{words}"
            self._vpp.failed()
        self.restarts += 1
        LOG.error("VPP is down: %s", reason)
        self._reason = reason
        _notify(self._on_down, reason)
        hub.sleep(0 if self.managed else 0.1)
