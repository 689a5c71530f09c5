# SPDX-License-Identifier: Apache-2.0
"""fip64-cleanup: remove all that fip64-agent installed on this host, on purpose only."""

from __future__ import annotations

import sys

from oslo_config import cfg

from fip64agent.cmd import common
from fip64agent.exceptions import AlreadyRunning, EnvironmentMissing

DESCRIPTION = """Removes everything that carries fip64agent's marks: flows, OVS ports, translator
processes (the VPP that it started), links and network namespaces. Traffic over floating IPv6
addresses stops. The agent must be stopped first. Exit status: 0 nothing is left, 1 something could
not be removed, 2 bad configuration, 3 missing rights, 4 OVS is missing, 5 the agent is running."""


def _prepare(conf: cfg.ConfigOpts) -> None:
    conf.register_cli_opt(cfg.BoolOpt("dry-run", default=False, help="Only list what would be removed."))


def run() -> int:
    """Remove everything, or list it. Returns the exit status. Raises: Fip64Error."""
    conf = common.load_config(None, DESCRIPTION, _prepare)
    common.require_rights()
    from fip64agent.admin.client import is_listening
    from fip64agent.agent import rooms_from
    from fip64agent.reconcile.removal import remains, remove_all

    if is_listening(conf.admin.socket):
        raise AlreadyRunning(f"an agent answers on {conf.admin.socket}: stop it first, or it puts all back")
    rooms = rooms_from(conf)
    try:
        for room in rooms.values():
            room.start()
        if reason := rooms["switch"].missing():
            raise EnvironmentMissing(reason)
        if conf.dry_run:
            for name, room in rooms.items():
                for item in remains(room).values():
                    print(f"{name}: {item}")
            return 0
        problems = remove_all(rooms)
    finally:
        for room in rooms.values():
            room.close()
    for problem in problems:
        print(f"fip64-cleanup: not removed: {problem}", file=sys.stderr)
    return 1 if problems else 0


def main() -> None:
    """Entry point of fip64-cleanup."""
    common.exit_with("fip64-cleanup", run)


if __name__ == "__main__":
    main()
