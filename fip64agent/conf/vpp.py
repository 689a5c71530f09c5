# SPDX-License-Identifier: Apache-2.0
"""[vpp]"""

from oslo_config import cfg

GROUP = cfg.OptGroup("vpp", title="The VPP translator")
TRANSLATOR = ("vpp", "VPP with the plugin fip64: fast, for production. Needs both ([vpp] binary and "
                     "plugin_path), or [vpp] launch = external. Can be tuned, counts packets, takes pools "
                     "cut into any number of parts.")
_SIZE = r"^[1-9][0-9]*[KMGkmg]?$"
_CORES = r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$"
OPTS = [
    cfg.StrOpt("launch", default="managed",
               choices=[("managed", "The agent starts a VPP of its own, which outlives the agent, adopts it "
                                    "after a restart of the agent, and starts it again when it dies or "
                                    "hangs."),
                        ("external", "Somebody else runs VPP, systemd for instance. The agent only "
                                     "connects.")],
               help="Who starts VPP and keeps it running."),
    cfg.StrOpt("binary", default="vpp",
               help="The program, when the agent starts it: a path, or a name to be found in PATH."),
    cfg.StrOpt("plugin_path", default="",
               help="Directories, separated by colons, where VPP looks for plugins before its own plugin "
                    "directory. Needed only when fip64_plugin.so is not in VPP's own."),
    cfg.StrOpt("run_path", sample_default="<[DEFAULT] run_path>/vpp",
               help="Directory of the managed VPP's startup file, log and sockets. The unix sockets in it "
                    "must have paths shorter than 108 characters."),
    cfg.StrOpt("api_socket", default="/run/vpp/api.sock",
               help="API socket (socksvr) of an external VPP."),
    cfg.StrOpt("stats_socket", default="/run/vpp/stats.sock",
               help="Socket of the stats segment (statseg) of an external VPP."),
    cfg.StrOpt("main_heap_size", default="1G", regex=_SIZE,
               help="Main heap of the managed VPP, for its tables and mappings: bytes, or with K, M or G. "
                    "It is reserved at the start and takes memory as it is used."),
    cfg.IntOpt("buffers_per_numa", default=16384, min=1024, max=4194304,
               help="Packet buffers of the managed VPP, for each NUMA node; one takes about 2.4 KiB."),
    cfg.StrOpt("stats_size", default="64M", regex=_SIZE,
               help="Stats segment of the managed VPP: bytes, or with K, M or G. Each mapping needs 32 bytes "
                    "for each thread."),
    cfg.BoolOpt("hugepages", default=False,
                help="Let the managed VPP put heap, buffers and stats segment on hugepages. Faster with much "
                     "traffic; the host must have enough of them."),
    cfg.IntOpt("main_core", min=0, max=1023,
               help="CPU core of the managed VPP's main thread. By default VPP chooses."),
    cfg.IntOpt("workers", default=0, min=0, max=255,
               help="Worker threads of the managed VPP, on cores that VPP chooses. 0: the main thread does "
                    "all. Not together with corelist_workers."),
    cfg.StrOpt("corelist_workers", default="", regex=_CORES,
               help="CPU cores of the managed VPP's worker threads, one thread each, for instance "
                    "2-3,18-19."),
    cfg.IntOpt("poll_sleep", default=0, min=0, max=10000,
               help="Microseconds that the managed VPP's main thread sleeps after each turn. 0: not at all, "
                    "which is best for traffic. Host-interfaces need no polling, so VPP is idle between "
                    "packets anyway."),
    cfg.IntOpt("neighbor_max_age", min=0, max=86400,
               help="Seconds after which VPP solicits a neighbor that it has not heard of, which it forgets "
                    "when no answer comes: so it finds a gateway again whose MAC address has changed without "
                    "a word. By itself VPP keeps neighbors for ever. 0: VPP is left as it is. By default 30 "
                    "for a managed VPP and 0 for an external one, as it holds for all interfaces of a VPP."),
    cfg.MultiStrOpt("extra_startup", default=[],
                    help="Stanzas that are appended to the managed VPP's startup file as they are, for "
                         "instance dpdk { ... }. Can be given several times."),
    cfg.MultiStrOpt("extra_plugin", default=[],
                    help="Another plugin that the managed VPP loads, dpdk_plugin.so for instance. All but "
                         "those that the agent needs are off. Can be given several times."),
    cfg.FloatOpt("start_timeout", default=20.0, min=1.0, max=600.0,
                 help="Seconds that a VPP may take from its start to its first answer."),
    cfg.FloatOpt("probe_interval", default=1.0, min=0.1, max=60.0,
                 help="Seconds between two health probes."),
    cfg.FloatOpt("probe_timeout", default=3.0, min=0.5, max=60.0,
                 help="Seconds without any answer after which VPP counts as hung. A managed one is then "
                      "killed and started again."),
]
