# SPDX-License-Identifier: Apache-2.0
"""Neighbor Discovery fields that OVS has and os-ken 4.2 lacks; importing this adds them.

``nd_reserved``: the 32 bits after the checksum: flags R, S, O of a Neighbor Advertisement
(RFC 4861 section 4.4). ``nd_options_type``: type of the first option.
"""

from __future__ import annotations

from fip64agent import hub  # noqa: F401 (before os-ken: it picks os-ken's hub)

# isort: split
from os_ken.lib import type_desc
from os_ken.ofproto import ofproto_v1_3, oxm_fields

ND_CLASS = 0x1000


class _NeighborDiscovery(oxm_fields._OxmClass):
    _class = ND_CLASS


def extend() -> None:
    """Add the fields to os-ken's OpenFlow 1.3 module. Idempotent."""
    known = {field.name for field in ofproto_v1_3.oxm_types}
    for name, number, kind in (("nd_reserved", 1, type_desc.Int4), ("nd_options_type", 2, type_desc.Int1)):
        if name not in known:
            ofproto_v1_3.oxm_types.append(_NeighborDiscovery(name, number, kind))
    oxm_fields.generate(ofproto_v1_3.__name__)


extend()
