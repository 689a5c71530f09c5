# SPDX-License-Identifier: Apache-2.0
"""A whole machine for tests: Debian in qemu, with its own kernel, systemd and Open vSwitch.

On the host: `image` makes what is booted, `install_disk` the disk with this checkout, `machine` runs qemu,
`remote` calls functions in there. In the guest: `serve` answers, `installed` is the lab around the agent that
is installed there.
"""
