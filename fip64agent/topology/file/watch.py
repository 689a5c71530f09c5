# SPDX-License-Identifier: Apache-2.0
"""Watches one path for changes of what is found there, with inotify.

Directories are watched, not the file: a file that is replaced by rename(2) is another inode.
All directories that the path leads through are, symbolic links included, so that a swapped link
(Kubernetes' ``..data``) and a directory removed and made again are noticed.
"""

from __future__ import annotations

import contextlib
import os
import stat

from inotify_simple import INotify, flags

_MAX_LINKS = 40  # the kernel's own limit
_SELF = flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR
_NAMES = flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.ATTRIB
_CONTENT = flags.CLOSE_WRITE


class PathWatch:
    """An inotify descriptor that follows `path`. Raises: OSError, where inotify cannot be had."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._inotify = INotify(nonblocking=True)
        self._names: dict[int, set[str]] = {}
        """Watch descriptor -> the names in that directory that matter."""
        self._paths: dict[int, str] = {}
        self.writing = False
        """Whether the file appeared and its writer has not closed it yet."""
        try:
            self.follow()
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        return self._inotify.fileno()

    def close(self) -> None:
        self._inotify.close()

    def changed(self) -> bool:
        """Take all events that are due; return whether one may have changed what is at the path.

        That a file appears does not count while it is being written: its writer closes it later.
        """
        found = False
        for event in self._inotify.read(timeout=0):
            if event.mask & (flags.Q_OVERFLOW | flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT):
                found, self.writing = True, False
            elif event.name in self._names.get(event.wd, ()):
                if event.mask & flags.CREATE and self._is_written(event.wd, event.name):
                    self.writing = True
                else:
                    found = True
                    if not event.mask & flags.ATTRIB:
                        self.writing = False
        return found

    def follow(self) -> None:
        """Watch the directories that the path leads through now. Raises: OSError."""
        before: dict[str, set[str]] | None = None
        for _ in range(10):  # until nothing changed while the watches were set
            wanted = _directories(self._path)
            if wanted == before:
                return
            before = wanted
            names: dict[int, set[str]] = {}
            paths: dict[int, str] = {}
            for directory, children in wanted.items():
                mask = _SELF | (_NAMES | _CONTENT if children else 0)
                try:
                    wd = self._inotify.add_watch(directory, mask)
                except (FileNotFoundError, NotADirectoryError, PermissionError):
                    continue  # gone again, or not ours to see: the caller looks by itself at times
                names.setdefault(wd, set()).update(children)
                paths[wd] = directory
            for wd in self._names.keys() - names.keys():
                with contextlib.suppress(OSError):  # it went with its directory
                    self._inotify.rm_watch(wd)
            self._names, self._paths = names, paths

    def _is_written(self, wd: int, name: str) -> bool:
        """Whether a file that just appeared still has its writer: then it is closed later."""
        try:
            status = os.lstat(os.path.join(self._paths[wd], name))
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _directories(path: str) -> dict[str, set[str]]:
    """Return each directory on the way to `path`, with the names in it that the way depends on.

    Those are symbolic links, the file itself, and whatever is missing. A directory on the way
    reports its own removal.
    """
    result: dict[str, set[str]] = {"/": set()}
    here, links = "/", 0
    rest = [part for part in reversed(path.split("/")) if part]
    while rest:
        part = rest.pop()
        if part == ".":
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        entry = os.path.join(here, part)
        try:
            status = os.lstat(entry)
        except OSError:
            result[here].add(part)
            return result
        if stat.S_ISDIR(status.st_mode):
            here = entry
            result.setdefault(here, set())
        elif stat.S_ISLNK(status.st_mode) and links < _MAX_LINKS:
            links += 1
            result[here].add(part)
            try:
                target = os.readlink(entry)
            except OSError:
                return result
            if target.startswith("/"):
                here = "/"
            rest.extend(part for part in reversed(target.split("/")) if part)
        else:
            result[here].add(part)
            return result
    return result
