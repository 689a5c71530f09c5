# SPDX-License-Identifier: Apache-2.0
"""What packets and addresses need: bytes and values, no I/O."""
