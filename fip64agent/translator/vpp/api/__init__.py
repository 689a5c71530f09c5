# SPDX-License-Identifier: Apache-2.0
"""VPP's binary API: requests out, replies and events in, over VPP's API socket.

A request goes through the modules in this order:

1. `client` takes it from the driver: one call, a dump, a cursor stream, or a `pipeline` of many requests.
2. `validation` checks each field (`values` has the checks of single values) and packs the message, with the
   packer that `definitions` has made from what VPP says of its own messages.
3. `transport` puts the message into a frame and writes it to the socket.
4. The reply comes back from `transport`; `client` finds its request by its context, and unpacks it.
5. A return value other than 0 becomes a VppError; `errors` says what it means.

When a connection begins, `compatibility` compares VPP's messages with those in `messages`, which the driver
was written for. Nothing here knows what the driver uses VPP for.
"""
