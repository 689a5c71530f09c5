# SPDX-License-Identifier: Apache-2.0
"""The flow monitor's reports, as Open vSwitch 3.1 was recorded to send them."""

import struct

import pytest

from fip64agent.switch.connection import monitor
from fip64agent.switch.connection.codec import CodecError, encode_match

# isort: split
from os_ken.ofproto import ofproto_v1_3 as ofp

REPORT = bytes.fromhex("ffff0000000000004f4e46000000074e")
CHANGED = bytes.fromhex("0028000200009c4000000000000c0000f1640000000000010001000c800000040000000500000000")
REMOVED = bytes.fromhex("0028000100029c4000000000000ca400000000000000000100010004000000000000000000000000")
ABBREVIATED = struct.pack("!HHI", 8, ofp.ONFFME_ABBREV, 77)
IN_PORT_5 = encode_match((("in_port", 5),))


def test_what_others_changed_is_named_and_what_we_changed_is_not():
    assert monitor.is_report(REPORT + CHANGED)
    assert list(monitor.decode(REPORT + ABBREVIATED + CHANGED + ABBREVIATED + REMOVED)) == [
        (0, 40000, 0xF164000000000001, IN_PORT_5), (164, 40000, 1, b"")]
    assert list(monitor.decode(REPORT)) == list(monitor.decode(REPORT + ABBREVIATED)) == []


@pytest.mark.parametrize("message", [
    REPORT[:-1], b"", struct.pack("!H6xII", ofp.OFPMP_EXPERIMENTER, 0x2320, 1870),
    struct.pack("!H6xII", ofp.OFPMP_FLOW, 0x4F4E4600, 1870)])
def test_other_messages_are_no_reports(message):
    assert not monitor.is_report(message)


@pytest.mark.parametrize("update", [
    b"\0", b"\0\0\0\0", b"\0\7\0\0\0\0\0\0", CHANGED[:-1], b"\0\x10" + CHANGED[2:16],
    CHANGED[:24] + b"\0\2" + CHANGED[26:], CHANGED[:26] + b"\0\3" + CHANGED[28:],
    CHANGED[:26] + b"\0\xff" + CHANGED[28:]])
def test_bytes_that_make_no_sense_are_refused(update):
    with pytest.raises(CodecError):
        list(monitor.decode(REPORT + update))
