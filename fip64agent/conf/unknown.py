# SPDX-License-Identifier: Apache-2.0
"""Finds names in configuration files that no option or group has. oslo.config ignores them silently."""

from __future__ import annotations

import difflib
import glob
import importlib.metadata
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator

from oslo_config import cfg, iniparser

_DEFAULT = "DEFAULT"


def unknown_names(conf: cfg.ConfigOpts) -> list[str]:
    """Return a sentence for each unknown group and option of the files that `conf` was read from."""
    known = _known_names(conf)
    return [sentence for path in _files(conf) for sentence in _unknown_in(path, known)]


def _known_names(conf: cfg.ConfigOpts) -> dict[str, set[str]]:
    """Return the names that options may have in a file, the deprecated ones too, by group."""
    from fip64agent.conf import list_opts

    logging = (entry.load()() for entry in importlib.metadata.entry_points(group="oslo.config.opts",
                                                                            name="oslo.log"))
    known: dict[str, set[str]] = defaultdict(set)
    for group, group_options in (pair for pairs in (list_opts(), *logging) for pair in pairs):
        group_name = getattr(group, "name", group) or _DEFAULT
        for option in group_options:
            known[group_name].update((option.name, option.dest))
            for old in option.deprecated_opts:
                name = old.name or option.name
                known[old.group or group_name].update((name, name.replace("-", "_")))
    return known


def _files(conf: cfg.ConfigOpts) -> list[str]:
    """Return the paths of the files of `conf`, in the order in which they were read."""
    return [*conf.config_file,
            *(path for directory in conf.config_dirs
              for path in sorted(glob.glob(os.path.join(directory, "*.conf"))))]


def _unknown_in(path: str, known: dict[str, set[str]]) -> Iterator[str]:
    sections: dict[str, dict] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except (OSError, UnicodeDecodeError, iniparser.ParseError):
        return  # it has changed since it was read; the next reload says what is wrong with it
    for section, options in sections.items():
        group = section if section == _DEFAULT else section.lower()  # as oslo.config has it
        if group not in known:
            hint = _hint(group, known, "[{}]")
            yield f"{path}: there is no group [{section}], what is in it is ignored{hint}"
            continue
        for name in options:
            if name not in known[group]:
                elsewhere = [f"[{other}]" for other in known if name in known[other]]
                hint = (f"; {name} belongs into {' or '.join(elsewhere)}" if elsewhere
                        else _hint(name, known[group]))
                yield f"{path}: there is no option [{group}] {name}, it is ignored{hint}"


def _hint(name: str, known: Iterable[str], form: str = "{}") -> str:
    spellings = {other.lower(): other for other in sorted(known)}
    nearest = difflib.get_close_matches(name.lower(), spellings, n=1)
    return f"; did you mean {form.format(spellings[nearest[0]])}?" if nearest else ""
