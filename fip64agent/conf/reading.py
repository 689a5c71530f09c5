# SPDX-License-Identifier: Apache-2.0
"""Reads configuration files. Unlike oslo.config alone, it checks every value when the files are read."""

from __future__ import annotations

import re

from oslo_config import cfg

from fip64agent import conf as options
from fip64agent.exceptions import ConfigError
from fip64agent.plan.inputs import Settings


def check_values(conf: cfg.ConfigOpts, fixed: Settings | None = None) -> Settings:
    """Read every option, which oslo.config checks only then; return what plan() needs of them.

    fixed: as of settings_from(). Raises: ConfigError naming the file, the option and the reason.
    """
    for group, group_options in options.list_opts():
        for option in group_options:
            try:
                conf[option.dest] if group == "DEFAULT" else conf[group.name][option.dest]
            except cfg.ConfigFileValueError as error:
                raise ConfigError(f"configuration: {_wrong_value(group, option, error)}") from error
    return options.settings_from(conf, fixed)


def reload(conf: cfg.ConfigOpts, fixed: Settings) -> Settings:
    """Read the files of `conf` again and take over what can change; return what plan() needs.

    fixed: as of settings_from(). Raises: ConfigError naming the file and the reason; then all is as it was.
    """
    trial = cfg.ConfigOpts()
    options.register_opts(trial)
    try:
        trial([], project="fip64agent", default_config_files=list(conf.config_file),
              default_config_dirs=list(conf.config_dirs))
        check_values(trial, fixed)
        conf.mutate_config_files()
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration: not UTF-8 text: {error}, in: "
                          f"{' '.join([*conf.config_file, *conf.config_dirs])}") from error
    except (cfg.Error, ValueError, OSError) as error:
        raise ConfigError(f"configuration: {error}") from error
    return options.settings_from(conf, fixed)


def _wrong_value(group, option: cfg.Opt, error: cfg.ConfigFileValueError) -> str:
    """Return oslo.config's message with the option's group, and with the file's name instead of a repr()."""
    text = re.sub(r"LocationInfo\(.*?detail=(['\"])(.*?)\1\)", r"\2", str(error))
    return f"[{group if group == 'DEFAULT' else group.name}] {option.name}: {text}"
