# SPDX-License-Identifier: Apache-2.0
"""The process of a managed VPP: finds it, starts it, watches it, ends it.

Green; what blocks is offloaded. The supervisor finds out whether VPP answers.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import time
from collections.abc import Callable

from fip64agent import hub
from fip64agent.exceptions import EnvironmentMissing
from fip64agent.process import BackOff, outcome
from fip64agent.translator.vpp import installation, process, startup
from fip64agent.translator.vpp.api.errors import VppUnavailable
from fip64agent.translator.vpp.process import Process
from fip64agent.translator.vpp.startup import StartupOptions

LOG = logging.getLogger(__name__)

STEADY = 60.0
"""Seconds after which the end of a VPP does not count as one more in a row."""
_ABORT_TIMEOUT = 1.0
"""Seconds that a VPP which hangs has to write a backtrace, before it is killed."""
_END_TIMEOUT = 10.0
"""Seconds that the kernel may take to end a VPP that was killed; Child.ending says why."""
_LOOK_INTERVAL = 1.0
"""Seconds between two looks at a VPP whose end the kernel cannot tell us, when too many files are open."""
_LOG_CHECK = 30.0
"""Seconds between two checks of the size of its log."""


class ManagedVpp:
    """At most one process.

    options: without plugin directories, which are filled in from binary and plugin_path.
    on_end: called from a greenthread when the process has ended.
    """

    def __init__(self, options: StartupOptions, binary: str, plugin_path: str, on_end: Callable[[], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.process: Process | None = None
        """None while there is none."""
        self.end: str | None = None
        """How the last one ended, in words; None while there is one, and before there was one."""
        self.outdated: str | None = None
        """A sentence when it runs with other startup options than a new one would; None: it does not."""
        self.back_off = BackOff(STEADY)
        self._files: dict[str, tuple[int, int]] = {}
        """Program and plugin as they were just before that process was started or found."""
        self._options = options
        self._binary = binary
        self._plugin_path = plugin_path
        self._on_end = on_end
        self._clock = clock
        self._watcher = None
        self._log_checked = 0.0

    def stop_watching(self) -> None:
        """Watch it no more; it continues to run."""
        if self._watcher is not None:
            self._watcher.kill()
        self._watcher = self.process = None
        self.back_off.forget()

    def failed(self) -> None:
        """Count an end, or a start that failed: the next one waits longer."""
        self.back_off.ended(self._clock())

    def complete_options(self) -> StartupOptions:
        """Return the options with this machine's plugin directories. Raises: EnvironmentMissing, OSError."""
        try:
            installed = installation.find(self._binary, self._plugin_path)
            self._files = installed.files()
        except (EnvironmentMissing, OSError):
            self.failed()
            raise
        options = self._with_directories(installed)
        if found := startup.faults(options):
            self.failed()
            raise EnvironmentMissing("; ".join(found))
        return options

    def _with_directories(self, installed: installation.Installation) -> StartupOptions:
        return dataclasses.replace(self._options, plugin_directories=installed.plugin_directories)

    # -- the process ------------------------------------------------------------------------------

    def find(self, options: StartupOptions) -> bool:
        """Watch the VPP that runs already; return False when there is none. Older ones of ours are killed."""
        found = hub.offload(process.running, options.run_path)
        for old in found[:-1]:  # a younger one has its sockets, so it cannot be reached
            self.kill(old, f"VPP (pid {old.pid}) is a second one: pid {found[-1].pid} has its sockets")
        if not found:
            return False
        LOG.info("VPP runs already: pid %d, %s", found[-1].pid, found[-1].startup_file)
        self._set_process(found[-1])
        return True

    def start(self, options: StartupOptions) -> None:
        """Start VPP. Raises: VppUnavailable."""
        try:
            found = hub.offload(process.start, installation.find(self._binary).binary, options)
        except OSError as error:
            self.failed()
            raise VppUnavailable(f"VPP cannot be started: {error}") from error
        self._set_process(found)

    def _set_process(self, found: Process) -> None:
        self.process, self.end, self.outdated = found, None, None
        if self._watcher is not None:
            self._watcher.kill()
        self._watcher = hub.spawn(self._watch, found)

    def compare(self, options: StartupOptions) -> None:
        """Set `outdated`, and log it, when VPP runs with other startup options than these."""
        if self.process is not None and self.process.startup_file != startup.file_name(options):
            self.outdated = (f"VPP (pid {self.process.pid}) runs with older startup options until it is "
                             f"restarted: it was started with {self.process.startup_file}, now it would be "
                             f"{startup.file_name(options)}")
            LOG.warning("%s", self.outdated)

    def reason_to_restart(self) -> str | None:
        """Return why a VPP that is started now may work where this one does not; None: there is no reason."""
        try:
            installed = installation.find(self._binary, self._plugin_path)
            newer = installed.renewed(self._files, self.process.age)
        except (EnvironmentMissing, OSError):  # in the middle of an upgrade
            return None
        if newer:
            return f"{newer} was installed after it was started"
        if self.process.startup_file != startup.file_name(self._with_directories(installed)):
            return "it was started with other options than the present ones"
        return None

    # -- its end ----------------------------------------------------------------------------------

    def _watch(self, found: Process) -> None:
        try:
            found.wait()
        except OSError as error:
            LOG.warning("VPP (pid %d) is looked at every %g s, as it cannot be watched: %s", found.pid,
                        _LOOK_INTERVAL, error)
            while not found.ending:
                hub.sleep(_LOOK_INTERVAL)
        how = outcome(found.pid)
        if self.process == found:
            self.process = None
            self.end = f"VPP (pid {found.pid}) {how}"
            self._on_end()

    def wait_if_ending(self, wake: hub.Event) -> str | None:
        """Return how the process ended; wait for its end when that has begun. `wake` is set at its end.

        Returns None when the process runs, or does not end in time.
        """
        found, last = self.process, self._clock() + _END_TIMEOUT
        while self.end is None and found is not None and found.ending and self._clock() < last:
            wake.clear()
            wake.wait(0.2)
        return self.end

    def kill(self, found: Process, reason: str) -> None:
        """Kill a VPP of ours, after it has had time to write a backtrace. `reason`: for the log."""
        LOG.error("%s: it is killed", reason)
        try:
            hub.offload(found.stop, (signal.SIGABRT, signal.SIGKILL), _ABORT_TIMEOUT)
        except (TimeoutError, OSError) as error:
            LOG.error("VPP (pid %d): %s", found.pid, error)
        for _ in range(50):  # until the watcher has seen it
            if self.process != found:
                break
            hub.sleep(0.01)

    # -- its log ----------------------------------------------------------------------------------

    def last_output(self) -> str:
        """Return what the last one wrote at its end, as one line; "" when it wrote nothing."""
        return hub.offload(process.last_output, self._options)

    def bound_log(self) -> None:
        """Limit the size of its log. Cheap: it checks at most every _LOG_CHECK seconds."""
        if self._clock() - self._log_checked > _LOG_CHECK:
            self._log_checked = self._clock()
            hub.offload(process.bound_log, self._options)
