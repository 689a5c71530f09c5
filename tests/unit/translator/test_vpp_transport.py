# SPDX-License-Identifier: Apache-2.0
"""Frames of VPP's API socket, in any pieces."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.translator.vpp.transport import FrameReader, FramingError, frame

MESSAGES = st.lists(st.binary(min_size=2, max_size=300), max_size=20)


@given(MESSAGES, st.lists(st.integers(min_value=1, max_value=200), min_size=1, max_size=30))
def test_messages_come_out_as_they_went_in_whatever_the_pieces(messages, sizes):
    stream = b"".join(map(frame, messages))
    reader, got, position, turn = FrameReader(), [], 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        got += reader.feed(stream[position:position + size])
        position += size
        turn += 1
    assert got == messages


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_bytes_give_messages_or_a_framing_error_and_memory_stays_bounded(pieces):
    reader = FrameReader(longest=64)
    fed = 0
    try:
        for piece in pieces:
            fed += len(piece)
            for message in reader.feed(piece):
                assert 2 <= len(message) <= 64
    except FramingError as error:
        assert "bytes is announced" in str(error)
    assert len(reader._pending) <= fed


@pytest.mark.parametrize("length", [0, 1, 65, 0xffffffff])
def test_a_length_that_cannot_be_is_refused_before_the_message_is_there(length):
    with pytest.raises(FramingError, match=f"a message of {length} bytes"):
        FrameReader(longest=64).feed(struct.pack(">QII", 0, length, 0))


def test_what_else_is_in_the_header_does_not_count():
    # VPP leaves a pointer and a timestamp of its own there.
    assert FrameReader().feed(struct.pack(">QII", 1 << 60, 2, 12345) + b"ok") == [b"ok"]
