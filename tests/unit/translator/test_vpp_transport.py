# SPDX-License-Identifier: Apache-2.0
"""Frames of VPP's API socket, in any pieces."""

import itertools
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent import hub
from fip64agent.translator.vpp.api.transport import FrameReader, FramingError, Transport, frame

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


def test_others_get_their_turn_while_thousands_of_messages_arrive_at_once(short_tmp):
    path = str(short_tmp / "api.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    got, ended, turns = [], hub.Event(), [0]
    transport = Transport(path, got.append, lambda reason: ended.set())

    def serve():
        peer, _ = listener.accept()
        with peer:
            peer.sendall(frame(b"ok") * 10000)

    server = threading.Thread(target=serve)
    server.start()
    try:
        transport.connect(5)
        while not ended.is_set():
            turns.append(len(got))
            hub.sleep(0)
    finally:
        server.join(5)
        listener.close()
    turns.append(len(got))
    assert turns[-1] == 10000
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 1000
