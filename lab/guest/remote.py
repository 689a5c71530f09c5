# SPDX-License-Identifier: Apache-2.0
"""Objects of the guest, used from the host as if they were here: ``lab.client.ping("2001:db8::1", count=3)``.

Attributes and items are followed in the guest and cost nothing here; a call goes there. Results come back as
values: JSON's, lab.node.Ping, subprocess.CompletedProcess; anything else as a reference to the object there.
"""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.node import Ping

_CALL = "call"
_LONG = 600.0


# The host's end


class Remote:
    """An object of the guest. `call` is what reaches it: ``call(method, *args, timeout=..., **kwargs)``."""

    def __init__(self, call: Callable[..., Any], path: tuple[Any, ...] = ()) -> None:
        self._call = call
        self._path = path

    def __getattr__(self, name: str) -> Remote:
        if name.startswith("__"):
            raise AttributeError(name)
        return Remote(self._call, (*self._path, name))

    def __getitem__(self, key: str | int) -> Remote:
        return Remote(self._call, (*self._path, [key]))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises: GuestError with the guest's traceback."""
        return self._decode(self._call(_CALL, list(self._path), list(args), kwargs, timeout=_LONG))

    def value(self) -> Any:
        """Return the object itself, not the result of a call."""
        return self._decode(self._call("get", list(self._path), timeout=_LONG))

    def _decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        match value.pop("$", None):
            case "Ping":
                return Ping(**value)
            case "CompletedProcess":
                return subprocess.CompletedProcess(**value)
            case int(number):
                return Remote(self._call, ([number],))
        return {key: self._decode(item) for key, item in value.items()}


# The guest's end


class Objects:
    """Follows paths from `root`; keeps what cannot be sent, under a number. Use as the handler of serve()."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._kept: dict[int, Any] = {}
        self._numbers = itertools.count(1)

    def __call__(self, method: str, path: list[Any], args: Sequence[Any] = (),
                 kwargs: dict[str, Any] | None = None) -> Any:
        target = self._follow(path)
        return self._encode(target(*args, **(kwargs or {})) if method == _CALL else target)

    def _follow(self, path: list[Any]) -> Any:
        target = self._root
        for position, step in enumerate(path):
            if not isinstance(step, list):
                target = getattr(target, step)
            elif position == 0 and isinstance(step[0], int):
                target = self._kept[step[0]]
            else:
                target = target[step[0]]
        return target

    def _encode(self, value: Any) -> Any:
        if value is None or isinstance(value, (str, int, float)):
            return value
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, (set, frozenset)):
            value = sorted(value)
        if isinstance(value, (list, tuple)):
            return [self._encode(item) for item in value]
        if isinstance(value, dict):
            return {str(key): self._encode(item) for key, item in value.items()}
        if isinstance(value, Ping):
            return {"$": "Ping", **dataclasses.asdict(value)}
        if isinstance(value, subprocess.CompletedProcess):
            return {"$": "CompletedProcess", "args": [str(word) for word in value.args],
                    "returncode": value.returncode, "stdout": value.stdout, "stderr": value.stderr}
        number = next(self._numbers)
        self._kept[number] = value
        return {"$": number}
