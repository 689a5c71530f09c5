# SPDX-License-Identifier: Apache-2.0
"""[DEFAULT]"""

import socket

from oslo_config import cfg

GROUP = None
OPTS = [
    cfg.HostAddressOpt("host", default=socket.gethostname(), sample_default="<this host's name>",
                       help="Name of this host, as the topology source knows it."),
    cfg.StrOpt("run_path", default="/run/fip64agent",
               help="Directory of sockets and generated translator configuration. Gone after a reboot."),
    cfg.StrOpt("state_path", default="/var/lib/fip64agent",
               help="Directory of what should outlive a reboot: the translator's client bindings."),
    cfg.BoolOpt("teardown_on_stop", default=False,
                help="Remove all that the agent installed when it stops. By default traffic keeps "
                     "flowing and the next start adopts what it finds; fip64-cleanup removes it on purpose."),
]
