# SPDX-License-Identifier: Apache-2.0
"""fip64-agent: the daemon."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal

DESCRIPTION = """Gives IPv4-only VMs of this host floating IPv6 addresses (FIP64).

SIGHUP reloads the topology and the options that can change at run time; SIGTERM stops the agent
and leaves what it installed in place, so that traffic flows on. Exit status: 0 stopped, 2 bad
configuration, 3 missing rights, 5 another agent is running. OVS and the bridge are waited for."""

_M_TRIM_THRESHOLD = -1  # malloc.h
_KEPT_FREE = 128 * 1024
"""Bytes of free memory at the end of the heap that the process may keep: glibc's initial value."""
_early_reloads: list[int] = []
"""SIGHUPs that came before the agent could act on them."""


def allow_many_files() -> None:
    """Raise the soft limit of open files to the hard limit: each tenant's namespace takes some of them."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def return_memory() -> None:
    """Have glibc return free memory to the system.

    By default it raises its thresholds whenever a large piece is freed, and then keeps the memory that
    planning needs for a moment. Setting one threshold fixes them all (mallopt(3)). Other C libraries have no
    mallopt().
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)


def run() -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises: Fip64Error when it cannot start."""
    from fip64agent import hub
    from fip64agent.cmd import common

    return_memory()
    conf = common.load_config(None, DESCRIPTION)
    common.require_rights()
    from fip64agent.agent import Agent  # imported only here, so that --help and the errors above are quick

    agent = Agent(conf)
    for number, action in ((signal.SIGTERM, agent.stop), (signal.SIGINT, agent.stop),
                           (signal.SIGHUP, agent.reload)):
        notifier = hub.Notifier(action)
        signal.signal(number, lambda _number, _frame, notifier=notifier: notifier.notify())
    if _early_reloads:
        notifier.notify()
    allow_many_files()
    agent.run()


def main() -> None:
    """Entry point of fip64-agent."""
    # By default SIGHUP would end the process.
    signal.signal(signal.SIGHUP, lambda number, _frame: _early_reloads.append(number))
    from fip64agent.cmd import common  # imported after the line above, as it takes a while

    common.exit_with("fip64-agent", run)


if __name__ == "__main__":
    main()
