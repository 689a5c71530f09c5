# SPDX-License-Identifier: Apache-2.0
"""`Lab`: one host with Open vSwitch and the daemon, VMs, an upstream router and IPv6 clients.

    client(s) ---- upstream router ---- uplink | br-int on the host | ---- VMs of several tenants

Everything is made of network namespaces with a prefix of its own, so that labs run side by side.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from lab import netns as namespaces
from lab import sweep, vpp
from lab.daemon import WAIT_FACTOR, Daemon, wait_for
from lab.node import Node
from lab.openvswitch import PrivateOvs, SystemOvs
from lab.shell import run
from lab.topology import TopologyFile

EXTERNAL_PREFIX = "2001:db8:f::/64"
UPLINK_PREFIX = "2001:db8:100::/64"
CLIENT_PREFIX = "2001:db8:c::"
FIP_A = "2001:db8:f::a"
FIP_B = "2001:db8:f::b"
VM_ADDRESS = "10.0.0.5"
EDGE = "edge"
"""The router whose ports on uplink networks are the uplinks."""
EXTERNAL = "external"
"""The network that floating IPs come from; behind the edge router (routed)."""

LIVE: list[Lab] = []
"""Labs of this process that stand."""


class Lab:
    """Use as a context manager, or call start() and stop().

    `standard`: build the client, the uplink, tenants a and b with vm-a and vm-b, which have the same IPv4
    address, and the floating IPs FIP_A and FIP_B; else only the host and the upstream router.
    `bind`: plug the standard lab's ports into the bridge at once. `agent`: start the daemon at once.
    `ovs`: "private" (own OVS in a namespace), "system" (the machine's), "auto" (the machine's if one runs).
    `translator`: [fip64] translator of the daemon; vpp and auto take the VPP that lab.vpp finds.
    `config`: {group: {option: value}} for the daemon, over the lab's own.
    `prefix`: of the namespaces' names; a unique one unless given. `directory`: made here, removed by stop().
    """

    def __init__(self, *, standard: bool = True, bind: bool = True, agent: bool = False, ovs: str = "private",
                 translator: str = "tayga", bridge: str = "br-int", fail_mode: str | None = None,
                 prefix: str | None = None, directory: Path | str | None = None,
                 config: dict[str, dict[str, Any]] | None = None) -> None:
        if ovs not in ("private", "system", "auto"):
            raise ValueError(f"ovs: {ovs!r} is none of private, system, auto")
        self._standard, self._bind_at_start, self._agent_at_start = standard, bind, agent
        self._wanted_ovs, self._fail_mode = ovs, fail_mode
        self._given_directory, self._given_prefix = directory, prefix
        self._config = config or {}
        self.translator = translator
        self.bridge = bridge
        self.nodes: dict[str, Node] = {}
        self.clients: list[Node] = []
        self.uplinks: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, int] = {}
        self._started = False

    # Start and stop

    def __enter__(self) -> Lab:
        self.start()
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def start(self) -> None:
        """Build it; what was built is removed when it fails half-way."""
        try:
            self._build()
        except BaseException:
            self.stop()
            raise

    def _build(self) -> None:
        self._make_directory()
        LIVE.append(self)
        self.ovs = self._choose_ovs()
        self._host_prefix = "" if self.private else "f64" + self.prefix[-5:-1] + "-"
        self._identity = sweep.LabIdentity(
            self.directory, self.prefix, self._host_prefix, "" if self.private else self.bridge,
            str(self.ovs.directory), os.getpid(), sweep.start_time(os.getpid()))
        self._identity.save()
        self.host = f"{self.prefix}host" if self.private else None
        """Name of the host's namespace; None: the one we are in."""
        self.ovs.netns = self.host
        if self.host:
            namespaces.add(self.host)
        self.topology = TopologyFile(self.directory / "topology.yaml", seed=self.prefix)
        self.topology.write()
        self.agent = self._make_agent()
        self.agent.write_config()
        self.ovs.start()
        mode = [f"fail_mode={self._fail_mode}"] if self._fail_mode else []
        self.ovs.add_bridge(self.bridge, *mode)
        self.upstream = self._add_node("upstream", ipv6=True)
        namespaces.sysctl(self.upstream.netns, ipv6__conf__all__forwarding=1)
        self.upstream.ip(f"addr add {CLIENT_PREFIX}1/128 dev lo")
        if self._standard:
            self._build_standard()
        self._started = True
        if self._agent_at_start:
            self.agent.start()

    def _make_directory(self) -> None:
        if self._given_directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="f64-"))
        else:
            Path(self._given_directory).mkdir(mode=0o700)
            self.directory = Path(self._given_directory)
        self.prefix = self._given_prefix or f"{self.directory.name}-"

    def _choose_ovs(self) -> PrivateOvs | SystemOvs:
        system = SystemOvs()
        # Where a real agent works already, stay out of its namespace.
        self.private = not (self._wanted_ovs == "system" or (
            self._wanted_ovs == "auto" and system.running and not sweep.links("ovs-dl")))
        return PrivateOvs(self.directory / "ovs") if self.private else system

    def _make_agent(self) -> Daemon:
        return Daemon(self.directory, self.host, self._agent_config())

    def _agent_config(self) -> dict[str, dict[str, Any]]:
        config: dict[str, dict[str, Any]] = {
            "DEFAULT": {"run_path": self.directory / "run", "state_path": self.directory / "state"},
            "topology": {"path": self.topology.path},
            "ovs": {"ovsdb_connection": self.ovs.db, "run_path": self.ovs.directory, "bridge": self.bridge},
            "fip64": {"translator": self.translator},
            "tayga": {"netns_prefix": sweep.netns_prefix(self.prefix)},
            "admin": {"socket": self.directory / "admin.sock"},
            "metrics": {"port": 0},
        }
        if self.translator != "tayga" and (installed := vpp.find()):
            config["vpp"] = {"binary": installed.binary, "plugin_path": installed.plugin_path}
            if WAIT_FACTOR > 1:
                config["vpp"]["start_timeout"] = 20 * WAIT_FACTOR  # its default, so many times longer
        for group, options in self._config.items():
            config.setdefault(group, {}).update(options)
        return {group: {key: str(value) for key, value in options.items()}
                for group, options in config.items()}

    def stop(self) -> None:
        """Remove all that this lab made, its translators and namespaces too. May be called again."""
        if not hasattr(self, "directory"):
            return
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
        try:
            if hasattr(self, "agent"):
                self.agent.stop(5)
            for node in self.nodes.values():
                node.close()
            if hasattr(self, "ovs"):
                self.ovs.stop()
            if hasattr(self, "_identity"):
                sweep.remove(self._identity)
            else:
                self.directory.rmdir()
        finally:
            if self in LIVE:
                LIVE.remove(self)
            if main:
                signal.signal(signal.SIGINT, before)

    def leftovers(self) -> list[str]:
        """What is still there of this lab, for people to read; empty after stop()."""
        return sweep.leftovers(self._identity)

    @property
    def identity(self) -> sweep.LabIdentity:
        """What is needed to find everything of this lab, by another process too."""
        return self._identity

    # Wires and machines

    def _add_node(self, name: str, ipv6: bool) -> Node:
        node = Node(name, f"{self.prefix}{name}", self.directory)
        namespaces.add(node.netns)
        if ipv6:
            namespaces.sysctl(node.netns, ipv6__conf__all__accept_dad=0, ipv6__conf__default__accept_dad=0,
                              ipv6__conf__default__accept_ra=0)
        else:
            namespaces.sysctl(node.netns, ipv6__conf__all__disable_ipv6=1,
                              ipv6__conf__default__disable_ipv6=1)
        self.nodes[name] = node
        return node

    def host_interface(self, name: str) -> str:
        """Return the name, in the host, of the wire's end that `name` is plugged in with."""
        return self._host_prefix + name

    def wire_to_host(self, name: str, node: Node, device: str, mac: str, mtu: int) -> str:
        """Lay a cable between the host and a node; returns the host's end, not plugged in yet."""
        end = self.host_interface(name)
        where = f"netns {self.host} " if self.host else ""
        namespaces.ip(None, f"link add {end} {where}mtu {mtu} type veth "
                            f"peer name {device} netns {node.netns} mtu {mtu} address {mac}")
        # The host's own IPv6 has no business on this wire: the bridge has.
        namespaces.sysctl(self.host, **{f"ipv6__conf__{end}__disable_ipv6": 1})
        namespaces.ip(self.host, f"link set {end} up")
        node.ip(f"link set {device} up")
        namespaces.offloads_off(node.netns, device)
        namespaces.offloads_off(self.host, end)
        return end

    def add_client(self, name: str = "client", address: str | None = None, mtu: int = 1500) -> Node:
        """Add an IPv6 client on the client network, behind the upstream router."""
        number = len(self.clients)
        node = self._add_node(name, ipv6=True)
        node.address6 = address or f"{CLIENT_PREFIX}{0x100 + number:x}"
        end = f"client{number}"
        namespaces.ip(None, f"link add {end} netns {self.upstream.netns} mtu {mtu} type veth "
                            f"peer name eth0 netns {node.netns} mtu {mtu}")
        self.upstream.ip(f"link set {end} up", f"addr add fe80::1/64 dev {end} nodad",
                         f"route add {node.address6}/128 dev {end}")
        node.ip("link set eth0 up", f"addr add {node.address6}/128 dev eth0 nodad",
                "route add default via fe80::1 dev eth0")
        self.clients.append(node)
        return node

    @property
    def client(self) -> Node:
        """The first client."""
        return self.clients[0]

    def add_uplink(self, name: str = "uplink", prefix: str = UPLINK_PREFIX, router: str = EDGE,
                   bind: bool = True, mtu: int = 1500) -> dict[str, Any]:
        """Wire the upstream router to the host and make `router`'s port on that network.

        Upstream has <prefix>1, the router port <prefix>2. Returns the port's resource.
        """
        network = ip_network(prefix)
        with self.topology.batch() as topology:
            if not any(item["name"] == router for item in topology.data["routers"]):
                topology.add_router(router)
            topology.add_network(f"{name}-net", external=True, mtu=mtu)
            topology.add_subnet(f"{name}-subnet", f"{name}-net", prefix, gateway_ip=str(network[1]))
            port = topology.add_router_port(name, router, f"{name}-net", {f"{name}-subnet": str(network[2])})
        self.wire_uplink(name, port, prefix, mtu)
        if bind:
            self.bind(name)
        return port

    def wire_uplink(self, name: str, port: dict[str, Any], prefix: str, mtu: int = 1500) -> None:
        """Wire the upstream router, as <prefix>1, to the host for a router port of the topology."""
        network = ip_network(prefix)
        end = self.wire_to_host(name, self.upstream, name, self.topology.mac(), mtu)
        self.upstream.ip(f"addr add {network[1]}/{network.prefixlen} dev {name} nodad")
        self.uplinks[name] = {"interface": end, "port_id": port["id"], "address": str(network[2]),
                              "upstream": str(network[1]), "mac": port["mac_address"]}

    def add_external_network(self, name: str = EXTERNAL, prefix: str = EXTERNAL_PREFIX, router: str = EDGE,
                             via: str = "uplink") -> None:
        """Add a network of floating IPs behind `router`; upstream routes it to the uplink `via`."""
        network = ip_network(prefix)
        with self.topology.batch() as topology:
            topology.add_network(name, external=True)
            topology.add_subnet(f"{name}-subnet", name, prefix, gateway_ip=str(network[1]))
            topology.add_router_port(f"{name}-gateway", router, name, {f"{name}-subnet": str(network[1])})
        self.upstream.ip(f"route add {prefix} via {self.uplinks[via]['address']}")

    def add_tenant(self, name: str, cidr: str = "10.0.0.0/24", nat64_pool: str | None = None,
                   external: str = EXTERNAL) -> None:
        """Add a tenant: router `router-<name>` with .1 of `cidr`, network `net-<name>` and its subnet.

        The router's gateway is on the network `external`.
        """
        gateway = str(ip_network(cidr)[1])
        with self.topology.batch() as topology:
            topology.add_router(f"router-{name}", nat64_pool)
            topology.add_network(f"net-{name}")
            topology.add_subnet(f"subnet-{name}", f"net-{name}", cidr, gateway_ip=gateway)
            topology.add_router_port(f"gateway-{name}", f"router-{name}", f"net-{name}",
                                     {f"subnet-{name}": gateway})
            self.connect_tenant(name, external)
        self._tags[name] = 1000 + len(self._tags)

    def connect_tenant(self, name: str, network: str) -> None:
        """Give the tenant's router a gateway port on a network that floating IPs come from."""
        network_id = self.topology.find("networks", network)["id"]
        subnet = next(item for item in self.topology.data["subnets"] if item["network_id"] == network_id)
        address = ip_network(subnet["cidr"])[0x100 + sum(
            port["network_id"] == network_id for port in self.topology.data["ports"])]
        self.topology.add_router_port(f"router-{name}-on-{network}", f"router-{name}", network,
                                      {subnet["name"]: str(address)}, gateway=True)

    def add_vm(self, name: str, tenant: str, address: str = VM_ADDRESS, bind: bool = True, mtu: int = 1500,
               serve: bool = False) -> Node:
        """Add a VM with IPv4 only: port `name` of `tenant`, device eth0; `serve`: start its servers."""
        port = self.topology.add_port(name, f"net-{tenant}", {f"subnet-{tenant}": address},
                                      device_owner="compute:nova")
        node = self.wire_vm(name, port, self._tags[tenant], mtu)
        if serve:
            node.serve(wait=False)
        if bind:
            self.bind(name)
        if serve:
            node.wait_serving()
        return node

    def wire_vm(self, name: str, port: dict[str, Any], tag: int, mtu: int = 1500) -> Node:
        """Make the machine of a VM's port of the topology, with its first address, wired to the host."""
        fixed = port["fixed_ips"][0]
        subnet = next(item for item in self.topology.data["subnets"] if item["id"] == fixed["subnet_id"])
        node = self._add_node(name, ipv6=False)
        node.address4, node.port_id, node.mac = fixed["ip_address"], port["id"], port["mac_address"]
        node.tag = tag
        node.interface = self.wire_to_host(name, node, "eth0", node.mac, mtu)
        length = ip_network(subnet["cidr"]).prefixlen
        node.ip(f"addr add {node.address4}/{length} dev eth0",
                f"route add default via {subnet['gateway_ip']}")
        return node

    def add_bridge_host(self, name: str, *addresses: str) -> Node:
        """Add a machine that is plugged into the bridge and is none of ours: no port of the topology."""
        node = self._add_node(name, ipv6=True)
        node.interface = self.wire_to_host(name, node, "eth0", self.topology.mac(), 1500)
        node.ip(*(f"addr add {address} dev eth0 nodad" if ":" in address else f"addr add {address} dev eth0"
                  for address in addresses))
        self.ovs.vsctl("add-port", self.bridge, node.interface)
        return node

    def _build_standard(self) -> None:
        with self.topology.batch():
            self.add_client()
            self.add_uplink(bind=self._bind_at_start)
            self.add_external_network()
            for letter, fip in (("a", FIP_A), ("b", FIP_B)):
                self.add_tenant(letter)
                self.add_vm(f"vm-{letter}", letter, bind=self._bind_at_start)
                self.topology.add_fip(fip, f"vm-{letter}")

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    # Ports

    def bind(self, *names: str) -> None:
        """Plug VMs or uplinks into the bridge, as an OpenStack compute node does: external_ids:iface-id."""
        argv: list[str] = []
        for name in names:
            node = self.nodes.get(name)
            uplink = self.uplinks.get(name)
            interface, port_id = ((uplink["interface"], uplink["port_id"]) if uplink
                                  else (node.interface, node.port_id))
            argv += ["--", "--may-exist", "add-port", self.bridge, interface,
                     "--", "set", "Interface", interface, f"external_ids:iface-id={port_id}"]
            if node is not None and node.tag:
                argv += ["--", "set", "Port", interface, f"tag={node.tag}"]
        self.ovs.vsctl(*argv[1:])

    def unbind(self, *names: str) -> None:
        """Unplug VMs or uplinks from the bridge."""
        argv: list[str] = []
        for name in names:
            argv += ["--", "--if-exists", "del-port", self.bridge, self.host_interface(name)]
        self.ovs.vsctl(*argv[1:])

    def ofport(self, name: str) -> int:
        """OpenFlow port number of a VM, an uplink, or any interface."""
        known = name in self.nodes or name in self.uplinks
        interface = self.host_interface(name) if known else name
        return int(self.ovs.vsctl("get", "Interface", interface, "ofport").stdout)

    # Looking and waiting

    def ctl(self, *argv: str, check: bool = True):
        """Run fip64ctl against this lab's daemon: ``lab.ctl("fip", "list", "-f", "json")``."""
        return self.agent.ctl(*argv, check=check)

    def run_in_host(self, *argv: str, **kwargs: Any):
        """Run a command in the host's namespace; see shell.run()."""
        return run(*argv, netns=self.host, **kwargs)

    def flows(self) -> str:
        """The bridge's flows as ovs-ofctl prints them, without counters."""
        return self.ovs.ofctl("dump-flows", self.bridge, "--no-stats").stdout

    wait_for = staticmethod(wait_for)

    def wait_reachable(self, *destinations: str, seconds: float = 15) -> None:
        """Wait until the first client gets an answer from each; `seconds` as for wait_for().

        Raises: RuntimeError.
        """
        seconds *= WAIT_FACTOR
        for destination in destinations:
            if not self.client.reaches(destination, seconds):
                raise RuntimeError(f"{self.client.name} got no answer from {destination} in {seconds:g} s")
