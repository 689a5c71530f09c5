# SPDX-License-Identifier: Apache-2.0
"""OpenFlow: the connection to the bridge, and all messages as bytes."""
