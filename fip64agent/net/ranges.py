# SPDX-License-Identifier: Apache-2.0
"""Ranges of numbers as OpenFlow can match them: a value and the bits of it that count."""

from __future__ import annotations

from collections.abc import Iterator

Masked = int | tuple[int, int]
"""A number, or (number, mask): all numbers that are equal to it in the bits of the mask."""


def masked(first: int, last: int, bits: int = 16) -> Iterator[Masked]:
    """Yield values of a match which together are the numbers from `first` to `last`: TCP, UDP or SCTP ports.

    As few as possible: at most 2 * bits - 2, and no number is in two of them. A number that stands alone is
    yielded without mask, all numbers as (0, 0), which matches anything. `bits`: of the field. Raises:
    ValueError when `first` is greater than `last`, or one of them does not fit into the field.
    """
    whole = (1 << bits) - 1
    if not 0 <= first <= last <= whole:
        raise ValueError(f"{first} to {last} is no range of numbers of {bits} bits")
    while first <= last:
        # The largest block that begins at `first`: its size is a power of two that divides it.
        size = first & -first or whole + 1
        while first + size - 1 > last:
            size >>= 1
        yield first if size == 1 else (first, whole & ~(size - 1))
        first += size
