# SPDX-License-Identifier: Apache-2.0
"""A host for benchmarks: a network namespace with Open vSwitch, VM ports, a topology file, the daemon.

Open vSwitch is real, with the userspace datapath. VM ports and the uplink are its "dummy" devices, as
nothing is sent. The veths of the agent are real devices.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import scale
from bench.measurement import WrongState
from lab import netns as namespaces
from lab import sweep, vpp
from lab.daemon import Daemon
from lab.openvswitch import PrivateOvs
from lab.shell import inside
from lab.topology import TopologyFile

BRIDGE = "br-int"
OURS = "cookie=0xf164000000000000/0xffff000000000000"
_UPLINK_OFPORT, _FIRST_VM_OFPORT = 1, 1000


class _Ovs(PrivateOvs):
    """The userspace datapath with real devices, that knows dummy devices as well."""

    def start_vswitchd(self) -> None:
        ctl = self.directory / "ovs-vswitchd.ctl"
        self._vswitchd = self._spawn("ovs-vswitchd", [
            "ovs-vswitchd", self.db, f"--unixctl={ctl}", "-vconsole:warn", "--enable-dummy",
            f"--pidfile={self.directory}/ovs-vswitchd.pid"], self.netns)
        self._wait(lambda: ctl.exists() and self.appctl("version", check=False).returncode == 0,
                   "ovs-vswitchd", 60)


class _Daemon(Daemon):
    """fip64-agent run by bench/agent.py."""

    stand_ins: tuple[str, ...] = ()
    additions = 0

    @property
    def trace_file(self) -> Path:
        return self.directory / "trace"

    def command(self, name: str = "fip64-agent") -> list[str]:
        if name != "fip64-agent":
            return super().command(name)
        return inside(self.netns, [
            sys.executable, str(Path(__file__).with_name("agent.py")), str(self.trace_file),
            ",".join(self.stand_ins) or "-", str(self.additions), "--config-file", str(self.config_file)])


class BenchHost:
    """Use as a context manager. `fips`: see scale.document(). `translator`: tayga or vpp.

    `stand_ins`: rooms of the daemon that only count. With "links" among them, tayga's veths are made here.
    """

    def __init__(self, fips: int, stand_ins: tuple[str, ...] = (), translator: str = "tayga") -> None:
        self.fips = fips
        self.stand_ins = stand_ins
        self.translator = translator

    def __enter__(self) -> BenchHost:
        self.directory = Path(tempfile.mkdtemp(prefix="f64-"))
        self.prefix = f"{self.directory.name}-"
        self.identity = sweep.LabIdentity(
            self.directory, self.prefix, link_prefix="", system_bridge="", system_ovs="", pid=os.getpid(),
            started=sweep.start_time(os.getpid()))
        self.identity.save()
        self.netns = f"{self.prefix}host"
        self.ovs = _Ovs(self.directory / "ovs", self.netns)
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self) -> None:
        namespaces.add(self.netns)
        self.topology = TopologyFile(self.directory / "topology.yaml")
        self.topology.data = scale.document(self.fips)
        self.topology.write()
        self.ovs.start()
        self.ovs.add_bridge(BRIDGE)
        self.ovs.stop_vswitchd()  # it opens many ports quickest when it starts
        rows = [(scale.UPLINK, _UPLINK_OFPORT, scale.uuid(5, 0xFFFE))]
        rows += [(scale.interface(vm), _FIRST_VM_OFPORT + vm, scale.port_id(vm))
                 for vm in range(scale.VM_PORTS)]
        self.ovs.vsctl("--no-wait", *[word for name, ofport, port_id in rows for word in (
            "--", "add-port", BRIDGE, name, "--", "set", "Interface", name, "type=dummy",
            f"ofport_request={ofport}", f"external_ids:iface-id={port_id}")])
        self.ovs.start_vswitchd()
        self.ovs.vsctl("set", "bridge", BRIDGE, "other_config:bench=1")  # waits until all ports are open
        if "links" in self.stand_ins:
            self._make_veths()
        self.agent = _Daemon(self.directory, self.netns, {
            "DEFAULT": {"run_path": self.directory / "run", "state_path": self.directory / "state"},
            "topology": {"path": self.topology.path},
            "ovs": {"ovsdb_connection": self.ovs.db, "run_path": self.ovs.directory, "bridge": BRIDGE},
            "fip64": {"translator": self.translator},
            "tayga": {"netns_prefix": sweep.netns_prefix(self.prefix)},
            "admin": {"socket": self.directory / "admin.sock"},
            "metrics": {"port": 0}})
        if self.translator == "vpp":
            found = vpp.find()
            assert found is not None
            self.agent.config["vpp"] = {"binary": found.binary, "plugin_path": found.plugin_path,
                                        "run_path": self.vpp_run_path}
        self.agent.stand_ins = self.stand_ins

    @property
    def vpp_run_path(self) -> Path:
        """Directory of the daemon's VPP."""
        return self.directory / "vpp"

    def _make_veths(self) -> None:
        from fip64agent.plan.inputs import Inputs, Interface
        from fip64agent.plan.planner import plan
        from fip64agent.topology.file.loader import load

        interfaces = {scale.UPLINK: Interface(scale.UPLINK, _UPLINK_OFPORT, scale.uuid(5, 0xFFFE))}
        for vm in range(scale.VM_PORTS):
            name = scale.interface(vm)
            interfaces[name] = Interface(name, _FIRST_VM_OFPORT + vm, scale.port_id(vm))
        desired = plan(Inputs(load(str(self.topology.path)), interfaces))
        names = [name for uplink in desired.uplinks.values() for name in uplink.veths]
        names += [tenant.interface for tenant in desired.tenants.values()]
        if len(names) != 2 + scale.TENANTS:
            raise WrongState(f"the plan has {len(names)} veths instead of {2 + scale.TENANTS}")
        namespaces.ip(self.netns, *(line for number, name in enumerate(names) for line in (
            f"link add {name} type veth peer name far{number}", f"link set {name} up")))

    def __exit__(self, *_exc) -> None:
        if hasattr(self, "agent"):
            self.agent.stop(5)
        self.ovs.stop()
        sweep.remove(self.identity)

    # The daemon

    def start(self, additions: int = 0) -> float:
        """Start the daemon with an empty trace; returns when, by CLOCK_MONOTONIC in seconds."""
        self.agent.trace_file.unlink(missing_ok=True)
        self.agent.additions = additions
        begun = time.monotonic()
        self.agent.start(wait=0)
        return begun

    def trace(self) -> list[dict[str, Any]]:
        """What the daemon noted since its start."""
        try:
            text = self.agent.trace_file.read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def wait(self, what: str, condition, seconds: float) -> dict[str, Any]:
        """Return the first line of the trace that `condition` holds for. Raises: WrongState."""
        deadline = time.monotonic() + seconds
        while True:
            lines = self.trace()
            for line in lines:
                if condition(line):
                    return line
            if not self.agent.running or time.monotonic() > deadline:
                raise WrongState(f"{what}: not within {seconds:g} s; last: {lines[-1:]}; the daemon's log:\n"
                                 f"{self.agent.log_tail(15)}")
            time.sleep(0.05)

    def wait_complete(self, seconds: float = 300) -> dict[str, Any]:
        """Return the trace's line of the pass after which all was installed, and check that it is."""
        line = self.wait("everything installed", lambda line: line.get("complete"), seconds)
        self.check_flows(self.fips)
        return line

    # The switch

    def flows(self) -> list[str]:
        """All flows of ours as ``ovs-ofctl add-flows`` takes them."""
        dump = self.ovs.ofctl("dump-flows", BRIDGE, OURS, "--no-stats").stdout
        return [line.strip() for line in dump.splitlines() if "actions=" in line]

    def flow_count(self) -> int:
        """Return how many flows of the agent the bridge has."""
        reply = self.ovs.ofctl("dump-aggregate", BRIDGE, OURS).stdout
        return int(reply.rpartition("flow_count=")[2].split()[0])

    def check_flows(self, fips: int) -> None:
        """Raises: WrongState when the switch does not have exactly the flows of so many floating IPs."""
        count, wanted = self.flow_count(), scale.flow_count(fips, self.translator)
        if count != wanted:
            raise WrongState(f"{count} flows of the agent in the switch instead of {wanted}")

    def delete_flows(self) -> None:
        """Delete all flows of the agent from the bridge."""
        self.ovs.ofctl("del-flows", BRIDGE, OURS)

    def delete_ports(self) -> None:
        """Take the agent's ports off the bridge: what is left is a host it never ran on."""
        names = self.ovs.vsctl("--bare", "--columns=name", "find", "Port",
                               "external_ids:fip64-owner!=\"\"").stdout.split()
        if names:
            self.ovs.vsctl(*[word for name in names for word in ("--", "del-port", BRIDGE, name)][1:])


# Processes


def memory(pid: int) -> tuple[int, int]:
    """Return resident memory of a process now and at its peak, in bytes."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
