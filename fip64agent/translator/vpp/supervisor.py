# SPDX-License-Identifier: Apache-2.0
"""Keeps a VPP there and a connection to it: starts or adopts it, probes it, starts it again.

There is no VPP (ready() says why), then it is up (`client`), then it is lost, and so on. The way up is the
same at the agent's start, after VPP's death and after a lost connection. Green; whatever blocks is offloaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import signal
import time
from collections.abc import Callable

from fip64agent import hub
from fip64agent.exceptions import EnvironmentMissing, Fip64Error
from fip64agent.translator.vpp import installation, process, startup
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppIncompatible, VppUnavailable
from fip64agent.translator.vpp.probe import Probe
from fip64agent.translator.vpp.process import Process
from fip64agent.translator.vpp.startup import StartupOptions

LOG = logging.getLogger(__name__)

STARTING = "VPP is starting"
"""The reason until the first attempt to bring it up has ended, or a process is there."""
STEADY = 60.0
"""Seconds that a VPP must have run for its death to count as the first again."""
LONGEST_WAIT = 60.0
_CHANGES = re.compile(r"\(pid \d+\)|0x[0-9a-f]+|\d[\d:.,/-]{3,}")
"""What differs between the ends of two VPPs that fail alike: process ids, addresses, times."""
_POLL = 0.02
"""Seconds between looks for the API socket of a VPP that was just started."""
_RETRY = 1.0
"""Seconds between attempts to connect to an external VPP, or to one that speaks other messages."""
_ABORT = 1.0
"""Seconds that a hung VPP gets to write down where it hangs."""
_LAST_BREATH = 10.0
"""Seconds that the kernel may take to end a VPP that was killed; process.ending() says why."""
_ANSWER = 10.0
"""Seconds that a VPP that is up has for an answer. The probe finds one that hangs, which wakes who waits."""
_HOUSEKEEPING = 30.0
"""Seconds between looks at the size of its log."""


def _tell(callback: Callable[..., None], *args: object) -> None:
    """Whoever listens may fail: VPP is looked after all the same."""
    try:
        callback(*args)
    except Exception:
        LOG.exception("VPP's user failed")


class Supervisor:
    """One VPP. launch: "managed" or "external". on_up(client), on_down(reason) come from a greenthread."""

    def __init__(self, options: StartupOptions, *, launch: str = "managed", binary: str = "vpp",
                 plugin_path: str = "", api_socket: str | None = None, stats_socket: str | None = None,
                 start_timeout: float = 20.0, probe_interval: float = 1.0, probe_timeout: float = 3.0,
                 on_up: Callable[[VppClient], None] = lambda client: None,
                 on_down: Callable[[str], None] = lambda reason: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """options: of a managed VPP; plugin_directories are filled in from binary and plugin_path.
        api_socket, stats_socket: of an external one. Seconds otherwise."""
        self.managed = launch == "managed"
        self.api_socket = options.api_socket if self.managed or api_socket is None else api_socket
        self.stats_socket = options.stats_socket if self.managed or stats_socket is None else stats_socket
        self.client: VppClient | None = None
        """None while there is no connection."""
        self.process: Process | None = None
        """The managed VPP, while there is one."""
        self.restarts = 0
        """How often it was lost."""
        self.probe = Probe(probe_timeout)
        self._files: dict[str, tuple[int, int]] = {}
        """Program and plugin as they were just before that process was started or adopted."""
        self._outdated: str | None = None
        self._socket_gone: str | None = None
        self._options = options
        self._binary = binary
        self._plugin_path = plugin_path
        self._start_timeout = start_timeout
        self._interval = probe_interval
        self._timeout = probe_timeout
        self._on_up = on_up
        self._on_down = on_down
        self._clock = clock
        self._reason: str | None = "VPP is not started yet"
        self._wake = hub.Event()
        self._death: str | None = None
        self._watcher = self._thread = None
        self._deaths, self._not_before, self._up_since, self._housekeeping = 0, 0.0, 0.0, 0.0
        self._told: str | None = None
        """Why the last attempt failed, without what differs from one attempt to the next; or None."""

    # -- for others -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to bring VPP up, in the background."""
        if self._thread is None:
            self._reason = STARTING
            self._thread = hub.spawn(self._run)

    def close(self) -> None:
        """Disconnect and watch no more; VPP runs on."""
        for thread in (self._thread, self._watcher):
            if thread is not None:
                thread.kill()
        self._thread = self._watcher = self.process = None
        self._up_since = 0.0
        client, self.client = self.client, None
        if client is not None:
            client.close()
        self._reason = "closed"

    def ready(self) -> str | None:
        """Return None while VPP is up, else the reason why it is not."""
        return self._reason

    @property
    def failing(self) -> bool:
        """Whether the last attempt to bring VPP up has failed; ready() says why."""
        return self._told is not None

    @property
    def next_start(self) -> float | None:
        """Seconds until VPP is started again; None when that is not what is waited for."""
        if not self.managed or self._thread is None or self.process is not None:
            return None
        return max(0.0, self._not_before - self._clock())

    @property
    def problem(self) -> str | None:
        """What an operator should know of a VPP that works: it is slow, has old options, no socket."""
        return "; ".join(filter(None, (self.probe.slow, self._outdated, self._socket_gone))) or None

    def stop(self) -> None:
        """End the managed VPP, on purpose and for good. Raises: TimeoutError when it does not end."""
        self.close()
        if self.managed:
            for found in hub.offload(process.running, self._options.run_path):
                hub.offload(process.stop, found)
                process.outcome(found.pid)
            hub.offload(process.clean, self._options)

    # -- the way up -------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            deaths = self._deaths
            try:
                self._rest()
                client = self._bring_up()
                self._up(client)
                self._down(self._watch(client))
            except VppIncompatible as error:
                self._say(str(error))
                self._wait_for_another()
            except (Fip64Error, OSError) as error:
                self._say(str(error))
                hub.sleep(_POLL if self.managed and self._deaths != deaths else _RETRY)
            except Exception as error:  # of any kind: it must never end
                self._died()
                LOG.exception("the supervision of VPP failed and begins anew")
                self._say(f"{type(error).__name__}: {error}")
                hub.sleep(_RETRY)

    def _rest(self) -> None:
        """A VPP that dies at once again and again is started 0, 1, 2, 4 ... 60 s later."""
        while self.managed and (wait := self._not_before - self._clock()) > 0:
            hub.sleep(min(wait, 0.5))

    def _died(self) -> None:
        """Count a death, or a start that failed."""
        if self._up_since and self._clock() - self._up_since > STEADY:
            self._deaths = 0
        self._up_since = 0.0
        wait = 0.0 if self._deaths == 0 else min(LONGEST_WAIT, 2.0 ** (self._deaths - 1))
        self._deaths += 1
        self._not_before = self._clock() + wait

    def _say(self, reason: str) -> None:
        """Remember why there is no VPP: the loop logs what ready() says, as often as it says something else.

        So it says the same until an attempt ends in another way.
        """
        LOG.debug("no VPP: %s", reason)
        if (alike := _CHANGES.sub("#", reason)) != self._told:
            self._told, self._reason = alike, reason

    def _bring_up(self) -> VppClient:
        """Return a connected client. Raises: Fip64Error, OSError with the reason."""
        if not self.managed:
            return self._connected()
        options = self._complete()
        found = hub.offload(process.running, options.run_path)
        for old in found[:-1]:  # it cannot be reached, since a younger one has taken its sockets
            self._end(old, f"VPP (pid {old.pid}) is a second one: pid {found[-1].pid} has its sockets")
        if found:
            return self._adopt(found[-1], options)
        return self._launch(options)

    def _complete(self) -> StartupOptions:
        """The options with this machine's plugin directories. Raises: EnvironmentMissing."""
        try:
            there = installation.find(self._binary, self._plugin_path)
            self._files = there.files()
        except (EnvironmentMissing, OSError):
            self._died()
            raise
        options = self._with_directories(there)
        if found := startup.faults(options):
            self._died()
            raise EnvironmentMissing("; ".join(found))
        return options

    def _with_directories(self, there: installation.Installation) -> StartupOptions:
        return dataclasses.replace(self._options, plugin_directories=there.plugin_directories)

    def _launch(self, options: StartupOptions) -> VppClient:
        try:
            found = hub.offload(process.start, installation.find(self._binary).binary, options)
        except OSError as error:
            self._died()
            raise VppUnavailable(f"VPP cannot be started: {error}") from error
        LOG.log(logging.INFO if self._told is None else logging.DEBUG, "VPP started: pid %d, %s", found.pid,
                startup.path(options))
        if self._told is None:
            self._reason = f"VPP (pid {found.pid}) is starting"
        return self._reach(found, options)

    def _adopt(self, found: Process, options: StartupOptions) -> VppClient:
        LOG.info("VPP runs already: pid %d, %s", found.pid, found.startup_file)
        client = self._reach(found, options)
        if found.startup_file != startup.file_name(options):
            self._outdated = (f"VPP (pid {found.pid}) runs with older startup options until it is restarted: "
                              f"it was started with {found.startup_file}, now it would be "
                              f"{startup.file_name(options)}")
            LOG.warning("%s", self._outdated)
        return client

    def _reach(self, found: Process, options: StartupOptions) -> VppClient:
        """Connect to a VPP of ours, which may still be starting; end it when it cannot be reached."""
        self.process, self._death, self._outdated = found, None, None
        self._watch_death(found)
        reason = ""
        while self._death is None:
            try:
                client = self._connected()
            except VppIncompatible:
                raise
            except VppUnavailable as error:
                reason = str(error)
            else:
                if client.pid in (found.pid, None) or self._death is not None:
                    return client
                reason = (f"VPP (pid {client.pid}) answers at {self.api_socket}, "
                          f"where pid {found.pid} of this agent should")
                client.close()
            if found.age > self._start_timeout:
                self._died()
                self._end(found, f"VPP (pid {found.pid}) cannot be reached: {reason}")
                raise VppUnavailable(f"{reason}; VPP (pid {found.pid}) was killed and is started again")
            self._wake.clear()
            self._wake.wait(_POLL)
        self._died()
        words = hub.offload(process.last_words, options)
        raise VppUnavailable(f"{self._death} while it started: {words or 'it did not say why'}")

    def _connected(self) -> VppClient:
        """Connect. Raises: VppUnavailable, VppIncompatible."""
        client = VppClient(self.api_socket, timeout=max(self._timeout, 2.0),
                           on_lost=lambda why: self._wake.set())
        client.connect()
        return client

    def _wait_for_another(self) -> None:
        """VPP speaks other messages. Only another VPP, or other files, can help."""
        found = self.process
        if not self.managed or found is None:
            hub.sleep(_RETRY)
            return
        while self._death is None:
            if why := self._hope(found):
                self._end(found, f"VPP (pid {found.pid}) cannot be used, and {why}")
                break
            self._wake.clear()
            self._wake.wait(_RETRY)
        self._died()

    def _hope(self, found: Process) -> str | None:
        """Return why a VPP started now may do what this one cannot, if there is a reason."""
        try:
            there = installation.find(self._binary, self._plugin_path)
            newer = there.renewed(self._files, found.age)
        except (EnvironmentMissing, OSError):  # in the middle of an upgrade
            return None
        if newer:
            return f"{newer} was installed after it was started"
        if found.startup_file != startup.file_name(self._with_directories(there)):
            return "it was started with other options than the present ones"
        return None

    # -- up ---------------------------------------------------------------------------------------

    def _up(self, client: VppClient) -> None:
        client.timeout = max(client.timeout, _ANSWER)
        self.client = client
        self._reason = self._told = self.probe.slow = None
        self._up_since = self._up_since or self._clock()  # the same one, when only the connection was lost
        LOG.info("VPP %s (pid %s) is up", client.version, client.pid)
        _tell(self._on_up, client)

    def _watch(self, client: VppClient) -> str:
        """Return when VPP is lost, with the reason."""
        while True:
            self._wake.clear()
            if self._death is None and client.connected:
                self._wake.wait(self._interval)
            if self._death is None and not client.connected and self.process is not None:
                self._wake.clear()
                self._wake.wait(0.2)  # the connection ends a moment before the process
            if (death := self._ended()) is not None:
                return death
            if not client.connected:
                return f"VPP's API connection was lost: {client.lost}"
            if not self.probe.answered(client, self.process.pid if self.process is not None else None):
                return self._ended() or self._hung()
            self._look_after()

    def _ended(self) -> str | None:
        """Return how the managed VPP ended; waits for the end of one that is about to."""
        found, last = self.process, self._clock() + _LAST_BREATH
        while self._death is None and found is not None and process.ending(found) and self._clock() < last:
            self._wake.clear()
            self._wake.wait(0.2)
        return self._death

    def _hung(self) -> str:
        if not self.managed or self.process is None:
            return f"VPP does not answer for {self._timeout:g} s; it is external, so it is left alone"
        reason = f"VPP (pid {self.process.pid}) hung: no answer for {self._timeout:g} s"
        self._end(self.process, reason)
        return reason

    def _look_after(self) -> None:
        """Its socket, and its log."""
        if os.path.exists(self.api_socket):
            self._socket_gone = None
        elif self._socket_gone is None:
            self._socket_gone = (f"VPP's API socket {self.api_socket} was removed: this connection works, "
                                 "but no other can be made until VPP is restarted")
            LOG.warning("%s", self._socket_gone)
        if self.managed and self._clock() - self._housekeeping > _HOUSEKEEPING:
            self._housekeeping = self._clock()
            hub.offload(process.bound_log, self._options)

    # -- the way down -----------------------------------------------------------------------------

    def _down(self, reason: str) -> None:
        client, self.client = self.client, None
        if client is not None:
            client.close()
        if self._death is not None:
            words = hub.offload(process.last_words, self._options)
            reason = f"{reason}{words and ': '}{words}"
            self._died()
        self.restarts += 1
        LOG.error("VPP is down: %s", reason)
        self._reason = reason
        _tell(self._on_down, reason)
        hub.sleep(0 if self.managed else 0.1)

    def _watch_death(self, found: Process) -> None:
        if self._watcher is not None:
            self._watcher.kill()
        self._watcher = hub.spawn(self._await_death, found)

    def _await_death(self, found: Process) -> None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it ended while we looked
            pidfd = os.pidfd_open(found.pid)
            try:
                if process.status(found.pid)[1] == found.started:
                    hub.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        self._dead(found)

    def _dead(self, found: Process) -> None:
        how = process.outcome(found.pid)
        if self.process == found:
            self.process = None
            self._death = f"VPP (pid {found.pid}) {how}"
            self._wake.set()

    def _end(self, found: Process, reason: str) -> None:
        """Kill a VPP of ours; it may say where it hangs first."""
        LOG.error("%s: it is killed", reason)
        try:
            hub.offload(process.stop, found, (signal.SIGABRT, signal.SIGKILL), _ABORT)
        except (TimeoutError, OSError) as error:
            LOG.error("VPP (pid %d): %s", found.pid, error)
        for _ in range(50):  # until the watcher has seen it
            if self.process != found:
                break
            hub.sleep(0.01)
