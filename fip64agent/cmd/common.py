# SPDX-License-Identifier: Apache-2.0
"""What the daemon and the clean-up tool share: configuration, logging, rights, exit statuses."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

import fip64agent
from fip64agent import conf as options
from fip64agent.admin.client import DEFAULT_CONFIG
from fip64agent.conf.reading import check_values
from fip64agent.conf.unknown import unknown_names
from fip64agent.exceptions import ConfigError, Fip64Error, PermissionDenied

LOG = logging.getLogger(__name__)
_CAPABILITIES = {12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW", 21: "CAP_SYS_ADMIN"}


def load_config(argv: list[str] | None, description: str, prepare=lambda conf: None) -> cfg.ConfigOpts:
    """Parse the command line and the configuration files, and warn of names in them that are unknown.

    `argv`: None: the program's own arguments. `description`: for --help. `prepare`: registers more options.
    Raises: ConfigError naming the file, the option and the reason.
    """
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    log.register_options(conf)
    log.set_defaults(default_log_levels=["eventlet=WARN", "os_ken=WARN", "ovsdbapp=WARN", "pyroute2=WARN"])
    prepare(conf)
    try:
        conf(argv, project="fip64agent", version=fip64agent.__version__, description=description,
             default_config_files=[DEFAULT_CONFIG] if os.path.exists(DEFAULT_CONFIG) else [])
        check_values(conf)
        log.setup(conf, "fip64agent", fip64agent.__version__)
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration: not UTF-8 text: {error}, in: "
                          f"{' '.join(sys.argv[1:] if argv is None else argv) or DEFAULT_CONFIG}") from error
    except (cfg.Error, ValueError, OSError, log.LogConfigError) as error:
        raise ConfigError(f"configuration: {error}") from error
    for sentence in unknown_names(conf):
        LOG.warning("%s", sentence)
    return conf


def require_rights() -> None:
    """Check the capabilities of this process. Raises: PermissionDenied naming those that are missing."""
    effective = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    missing = [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        raise PermissionDenied(f"{' and '.join(missing)} missing: run it as root, or by its systemd unit")


def exit_with(program: str, function: Callable[[], int | None]) -> None:
    """Run `function`, then end the process with the status that it returns (None: 0).

    A Fip64Error ends it with one line on stderr and the error's exit status.
    """
    try:
        sys.exit(function() or 0)
    except Fip64Error as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
