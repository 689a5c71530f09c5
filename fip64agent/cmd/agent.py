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
_early_hangups: list[int] = []
"""SIGHUPs until the agent listens to them."""


def allow_many_files() -> None:
    """Each tenant's namespace takes some file descriptors: the soft limit is too low for many."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def return_memory() -> None:
    """Have glibc return free memory to the system.

    By default it raises the thresholds for that whenever a large piece is freed, and then keeps what planning
    has needed for a moment. Setting one of them fixes them all (mallopt(3)). Other C libraries have no
    mallopt().
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)


def run() -> None:
    from fip64agent import hub
    from fip64agent.cmd import common

    return_memory()
    conf = common.load_config(None, DESCRIPTION)
    common.require_rights()
    from fip64agent.agent import Agent  # only now: --help and errors above should be quick

    agent = Agent(conf)
    for number, action in ((signal.SIGTERM, agent.stop), (signal.SIGINT, agent.stop),
                           (signal.SIGHUP, agent.reload)):
        notifier = hub.Notifier(action)
        signal.signal(number, lambda _number, _frame, notifier=notifier: notifier.notify())
    if _early_hangups:
        notifier.notify()
    allow_many_files()
    agent.run()


def main() -> None:
    signal.signal(signal.SIGHUP, lambda number, _frame: _early_hangups.append(number))  # else it ends a start
    from fip64agent.cmd import common  # takes a while

    common.exit_with("fip64-agent", run)


if __name__ == "__main__":
    main()
