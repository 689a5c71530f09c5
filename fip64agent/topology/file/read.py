# SPDX-License-Identifier: Apache-2.0
"""Reads a topology file whatever it turns out to be."""

from __future__ import annotations

import errno
import os
import stat

from fip64agent.topology.file.problems import refused

MIB = 1 << 20


def read(path: str, max_size: int) -> bytes:
    """Return the content of the regular file `path`. Blocks, but never on a FIFO or a device.

    `max_size`: in MiB. Raises: TopologyError.
    """
    path = os.fspath(path)
    try:
        fileno = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise refused(path, "does not exist") from None
    except OSError as error:
        raise refused(path, "is not a regular file" if error.errno == errno.ENXIO
                      else f"cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL character
        raise refused(path, "is not a file name") from None
    try:
        status = os.fstat(fileno)
        if not stat.S_ISREG(status.st_mode):
            raise refused(path, "is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
        limit = max_size * MIB
        if status.st_size <= limit:
            with open(fileno, "rb", closefd=False) as file:
                data = file.read(limit + 1)  # it may grow meanwhile
            if len(data) <= limit:
                return data
        raise refused(path, f"is too large: {max(status.st_size, limit + 1):,} bytes, and [topology] "
                            f"max_size is {max_size} MiB")
    except OSError as error:
        raise refused(path, f"cannot be read: {error.strerror}") from None
    finally:
        os.close(fileno)
