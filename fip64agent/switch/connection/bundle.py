# SPDX-License-Identifier: Apache-2.0
"""Flow changes in bundles: ordered and atomic; a flow that is refused does not prevent the others.

A bundle is sent together with its commit, in one round trip. The switch reports by transaction id which flows
it does not take into the bundle, and commits the others. When the commit itself fails, nothing of the bundle
was done: it is sent again without the flows that were reported.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence

from fip64agent.switch.connection.app import Connection
from fip64agent.switch.connection.codec import FlowItem, flow_mod

# isort: split
from os_ken.ofproto import ofproto_common
from os_ken.ofproto import ofproto_v1_3 as ofp

LOG = logging.getLogger(__name__)

CHUNK = 4000
"""Flow mods in one bundle. The switch keeps a bundle in memory and does nothing else while it commits."""
ADD = ofp.OFPFC_ADD
DELETE = ofp.OFPFC_DELETE_STRICT

_EXPERIMENTER = "!BBHIII"
_CONTROL = struct.Struct(_EXPERIMENTER + "IHH")
_ADD_MESSAGE = struct.Struct(_EXPERIMENTER + "I2xH")
_FLAGS = ofp.ONF_BF_ATOMIC | ofp.ONF_BF_ORDERED


def control(xid: int, bundle: int, kind: int) -> bytes:
    """Return a bundle control message: open, commit, discard."""
    return _CONTROL.pack(ofp.OFP_VERSION, ofp.OFPT_EXPERIMENTER, _CONTROL.size, xid,
                         ofproto_common.ONF_EXPERIMENTER_ID, ofp.ONF_ET_BUNDLE_CONTROL, bundle, kind, _FLAGS)


def add_message(xid: int, bundle: int, message: bytes) -> bytes:
    """Return the message that puts `message` (of the same transaction id) into a bundle."""
    return _ADD_MESSAGE.pack(ofp.OFP_VERSION, ofp.OFPT_EXPERIMENTER, _ADD_MESSAGE.size + len(message), xid,
                             ofproto_common.ONF_EXPERIMENTER_ID, ofp.ONF_ET_BUNDLE_ADD_MESSAGE,
                             bundle, _FLAGS) + message


def _messages(first: int, bundle: int, command: int, items: Sequence[FlowItem]) -> Iterator[bytes]:
    yield control(first, bundle, ofp.ONF_BCT_OPEN_REQUEST)
    for xid, item in enumerate(items, first + 1):
        yield add_message(xid, bundle, flow_mod(item, xid, command))
    yield control(first + len(items) + 1, bundle, ofp.ONF_BCT_COMMIT_REQUEST)


def _send(connection: Connection, command: int, items: Sequence[FlowItem]) -> dict:
    """Change the flows of one chunk; return the reason for each key that was refused."""
    failed: dict = {}
    while items:
        channel = connection.channel
        first = channel.reserve(len(items) + 2)
        last = first + len(items) + 1
        reply = channel.exchange(_messages(first, first, command, items), first, last, connection.timeout)
        refused = {xid - first - 1: reason for xid, reason in reply.errors.items() if first < xid < last}
        failed.update((items[index].key, f"refused by Open vSwitch: {reason}")
                      for index, reason in refused.items())
        why = reply.errors.get(last) or reply.errors.get(first)
        if why is None:
            break
        left = [item for index, item in enumerate(items) if index not in refused]
        if not refused:
            failed.update((item.key, f"Open vSwitch refused the bundle: {why}") for item in left)
            break
        LOG.warning("a bundle of %d flows is sent again without %d that were refused",
                    len(items), len(refused))
        items = left
    return failed


def change(connection: Connection, command: int, items: Sequence[FlowItem]) -> dict:
    """Add `items` (ADD), or remove those that are ours (DELETE); return the reason for each key that failed.

    Raises: NotReady when the connection is lost; whether the last bundle was committed is then not known.
    """
    failed: dict = {}
    for start in range(0, len(items), CHUNK):
        failed.update(_send(connection, command, items[start:start + CHUNK]))
    return failed
