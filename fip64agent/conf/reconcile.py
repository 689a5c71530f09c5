# SPDX-License-Identifier: Apache-2.0
"""[reconcile]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("reconcile", title="Keeping what is installed as it should be")
OPTS = [
    cfg.FloatOpt("audit_interval", mutable=True, default=300, min=1,
                 help="Seconds between full read-backs of all that is installed."),
    cfg.FloatOpt("probe_interval", default=2, min=0.1,
                 help="Shortest time between two looks at flows that other programs keep changing, in "
                      "seconds. The first change is seen at once."),
    cfg.FloatOpt("gateway_interval", default=5, min=0,
                 help="Seconds between two Neighbor Solicitations that ask a gateway of an uplink whether it "
                      "is there. 0: none is asked, and an uplink counts as active without its gateway."),
    cfg.FloatOpt("backoff_min", mutable=True, default=1, min=0.1,
                 help="Seconds until an object that failed is tried again; doubled each time."),
    cfg.FloatOpt("backoff_max", mutable=True, default=60, min=1,
                 help="Longest wait between two tries, in seconds."),
]
