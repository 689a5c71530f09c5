# SPDX-License-Identifier: Apache-2.0
"""Makes VPP's interfaces: on veth ends, and for the VLANs on the downlink. Takes over what is half made."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from fip64agent.translator.vpp import readback, requests, tags
from fip64agent.translator.vpp.items import HostInterface, SubInterface
from fip64agent.translator.vpp.requests import Request
from fip64agent.translator.vpp.sender import Failures, Pairs, Sender

IF_ALREADY_EXISTS, VLAN_ALREADY_EXISTS, INVALID_INTERFACE = -79, -56, -71


class Interfaces:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def drop(self, tag: str, index: int) -> None:
        """Delete an interface; what is on it goes too."""
        self._sender.collateral = True
        link = self._sender.state.links.pop(tag, None)
        if link is not None:
            self._sender.send([requests.no_host_interface(link)])
        else:
            self._sender.send([requests.no_sub_interface(index)])
        self._sender.state.interfaces.pop(tag, None)

    def make_host_interfaces(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        make, settle = [], []
        for was, item in pairs:
            index = self._sender.state.interfaces.get(item.tag)
            if index is not None and was is not None and \
                    (was.link, was.mac, was.table) == (item.link, item.mac, item.table) and \
                    requests.slot(was.mtu) >= requests.slot(item.mtu):
                settle.append((item, requests.mtu_and_flags(item, index)))
                continue
            if item.tag in self._sender.state.links:
                self._release(item.tag)
            make.append(item)
        made = self._sender.send([requests.host_interface(item) for item in make], one_by_one=True)
        for item, answer in zip(make, made, strict=True):
            if getattr(answer, "retval", None) == IF_ALREADY_EXISTS:
                answer = self._take_over(item, answer.reply.sw_if_index)
            if isinstance(answer, Exception | str):
                failed[item.key] = self._about_link(item, answer)
            else:
                settle.append((item, requests.settle_host_interface(item, answer.sw_if_index)))
                self._sender.state.interfaces[item.tag] = answer.sw_if_index
                self._sender.state.links[item.tag] = item.link
        return failed | self._settled(settle)

    def _settled(self, settle: Sequence[tuple[HostInterface | SubInterface, list[Request]]]) -> Failures:
        failed = self._sender.run(settle)
        for item, _ in settle:
            if item.key in failed:  # nothing else is put on it
                self._sender.state.interfaces.pop(item.tag, None)
        return failed

    def _release(self, tag: str) -> None:
        """Delete a host-interface of ours, and before it the routes by it: they would never work again."""
        state, tenants = self._sender.state, tag == tags.DOWNLINK
        self._sender.send([requests.flush(*key) for key, name in state.tables.items()
                           if name == tag or (tenants and tags.tenant_of(name) is not None)])
        if tenants:  # their sub-interfaces go with it
            state.interfaces = {tag: index for tag, index in state.interfaces.items()
                                if tags.tenant_of(tag) is None}
        self.drop(tag, 0)

    def _take_over(self, item: HostInterface, index: int) -> Any:
        """Make a host-interface anew that is on our link already, if it is ours or nobody's."""
        details = readback.interfaces(self._sender.client, index)
        tag = next((detail.tag for detail in details if detail.sw_if_index == index), "")
        if tag and not tags.is_ours(tag):
            return f"VPP has an interface on {item.link} already that is not this agent's: its tag is {tag!r}"
        if tag:
            self._sender.state.links[tag] = item.link
            self._release(tag)
        else:  # the agent was killed before it set the tag
            self._sender.send([requests.no_host_interface(item.link)])
        return self._sender.send([requests.host_interface(item)])[0]

    @staticmethod
    def _about_link(item: HostInterface, answer: Exception | str) -> str:
        if getattr(answer, "retval", None) == INVALID_INTERFACE:
            return f"there is no link {item.link} where VPP runs yet"
        return str(answer)

    def make_sub_interfaces(self, pairs: Pairs) -> Failures:
        failed: Failures = {}
        make, settle = [], []
        for was, item in pairs:
            index = self._sender.state.interfaces.get(item.tag)
            if index is not None:
                if was is not None and \
                        (was.parent, was.vlan, was.table) == (item.parent, item.vlan, item.table):
                    settle.append((item, requests.mtu_and_flags(item, index)))
                    continue
                self._sender.send([requests.flush(4, was.table if was is not None else item.table)])
                self.drop(item.tag, index)
            make.append(item)
        create = functools.partial(requests.sub_interface, interfaces=self._sender.state.interfaces)
        for item, answer in zip(make, self._sender.send([create(item) for item in make]), strict=True):
            if getattr(answer, "retval", None) == VLAN_ALREADY_EXISTS:
                answer = self._take_vlan(item, create(item))
            if isinstance(answer, Exception | str):
                failed[item.key] = str(answer)
            else:
                settle.append((item, requests.settle_sub_interface(item, answer.sw_if_index)))
                self._sender.state.interfaces[item.tag] = answer.sw_if_index
        return failed | self._settled(settle)

    def _take_vlan(self, item: SubInterface, request: Request) -> Any:
        """Remove the sub-interface that has the VLAN: of a tenant that is given up, or without a tag."""
        parent = self._sender.state.interfaces[item.parent]
        for detail in readback.interfaces(self._sender.client):
            if detail.sup_sw_if_index == parent != detail.sw_if_index and detail.sub_id == item.vlan:
                if detail.tag and not tags.is_ours(detail.tag):
                    return (f"VPP has a sub-interface with VLAN {item.vlan} already that is not this "
                            f"agent's: its tag is {detail.tag!r}")
                self._sender.send([requests.flush(4, item.table)])
                self.drop(detail.tag, detail.sw_if_index)
        return self._sender.send([request])[0]
