# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics on [metrics] host:port.

An agent that serves traffic does not refuse to start, or stop, because of its metrics: when the
port is taken it goes on without, logs an error, and `fip64ctl status` shows a warning.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fip64agent import hub
from fip64agent.admin import report
from fip64agent.admin.listing import listed
from fip64agent.admin.state import STATES, States
from fip64agent.exceptions import NotReady
from fip64agent.plan.ports.objects import ServedPort
from fip64agent.translator.base import Count, Traffic

LOG = logging.getLogger(__name__)


class AgentCollector(Collector):
    """Reads the agent at each scrape; keeps nothing."""

    def __init__(self, agent) -> None:
        self._agent = agent

    def describe(self) -> Iterable[Metric]:
        return ()  # without it, registering would scrape an agent that is still being built

    def collect(self) -> Iterator[Metric]:
        yield from self._objects()
        yield from self._loop()
        yield from self._topology()
        yield from self._packets()
        yield from self._refusals()
        yield from self._translator()
        info = GaugeMetricFamily("fip64_build_info", "Always 1; versions are in the labels.",
                                 labels=["version", "python", "translator"])
        versions = report.versions()
        info.add_metric([versions["fip64agent"], versions["python"],
                         self._agent.rooms["translator"].kind], 1)
        yield info

    def _objects(self) -> Iterator[Metric]:
        states = States(self._agent)
        *others, last = (listing.titles for listing in listed().values())
        text = f"{', '.join(others)} and {last} by state."
        family = GaugeMetricFamily("fip64_objects", text[0].upper() + text[1:], labels=["kind", "state"])
        for kind in listed():
            counts = Counter(state.state for _name, state in hub.yielding(states.all(kind)))
            for state in STATES:
                family.add_metric([kind, state], counts[state])
        yield family
        for listing in listed().values():
            for gauge in listing.gauges(states):
                family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
                for labels, value in gauge.samples.items():
                    family.add_metric(labels, value)
                yield family

    def _loop(self) -> Iterator[Metric]:
        loop = self._agent.loop
        yield CounterMetricFamily("fip64_passes", "Reconcile passes since the start.", loop.passes)
        yield GaugeMetricFamily("fip64_pass_seconds", "Duration of the last pass.", loop.last_pass_seconds)
        yield CounterMetricFamily("fip64_applied", "Items created or updated since the start.", loop.applied)
        yield CounterMetricFamily("fip64_pruned", "Items removed since the start.", loop.pruned)
        yield GaugeMetricFamily("fip64_settled", "1 when the newest plan is carried out as far as it can be.",
                                int(loop.settled))
        yield self._by_room("fip64_installed_items", "Links, flows, translator instances that are installed.",
                            loop.counts())
        yield self._by_room("fip64_failures", "Items that could not be installed or removed.",
                            Counter(failure.room for failure in loop.failures))
        yield self._by_room("fip64_room_blocked", "1 when the room cannot work now: its component is down.",
                            dict.fromkeys(States(self._agent).blocked, 1))

    def _by_room(self, name: str, text: str, values: dict[str, int]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=["room"])
        for room in self._agent.rooms:
            family.add_metric([room], values.get(room, 0))
        return family

    def _packets(self) -> Iterator[Metric]:
        family = CounterMetricFamily("fip64_packet_ins", "Packets that came to the agent, by OpenFlow port "
                                     "and by what became of them.", labels=["port", "reason"])
        for (port, reason), count in self._agent.rooms["switch"].packet_in_counters().items():
            family.add_metric([str(port), reason], count)
        yield family

    def _refusals(self) -> Iterator[Metric]:
        switch, ports = self._agent.rooms["switch"], self._agent.loop.desired.of(ServedPort.kind)
        try:
            refused = switch.refused_packets() if ports else {}
        except NotReady:
            refused = {}
        names = {port.ofport: port_id for port_id, port in ports.items()} if refused else {}
        family = CounterMetricFamily("fip64_port_refused_packets", "Packets of VMs that were refused, by "
                                     "port id and reason.", labels=["port", "reason"])
        for (ofport, reason), count in refused.items():
            if ofport in names:
                family.add_metric([names[ofport], reason], count)
        yield family

    def _topology(self) -> Iterator[Metric]:
        error = self._agent.topology_error
        yield GaugeMetricFamily("fip64_topology_errors", "Faults of the newest topology; 0 when "
                                "all of it is in force.", len(error.problems) if error else 0)
        yield GaugeMetricFamily("fip64_topology_loaded_timestamp_seconds", "When the topology in force was "
                                "loaded, seconds since the epoch; 0 before the first.",
                                self._agent.topology_loaded_at or 0)

    def _translator(self) -> Iterator[Metric]:
        translator = self._agent.rooms["translator"]
        try:
            trouble, counters = translator.healthy(), translator.counters()
        except NotReady:
            trouble, counters = "cannot be asked", {}
        about = translator.about()
        yield GaugeMetricFamily("fip64_translator_healthy", "1 when all that should run runs and answers.",
                                int(trouble is None))
        yield GaugeMetricFamily("fip64_translator_up", "1 when the translator can be asked and changed.",
                                int(translator.ready() is None))
        if about.restarts is not None:
            yield CounterMetricFamily("fip64_translator_restarts", "How often it was lost since the agent "
                                      "started.", about.restarts)
        if about.probe is not None:
            yield GaugeMetricFamily("fip64_translator_probe_seconds", "How long its last answer to a health "
                                    "probe took.", about.probe)
        clients = GaugeMetricFamily("fip64_translator_clients", "Client bindings of a tenant.",
                                    labels=["tenant"])
        events = CounterMetricFamily("fip64_translator_events", "What else the translator counts.",
                                     labels=["tenant", "event"])
        for tenant, values in counters.items():
            for name, value in values.items():
                if name == "clients":
                    clients.add_metric([tenant], value)
                else:
                    events.add_metric([tenant, name], value)
        yield clients
        yield events
        try:
            traffic = translator.traffic()
        except NotReady:
            traffic = None
        if traffic is not None:
            yield from self._traffic(traffic)

    def _traffic(self, traffic: Traffic) -> Iterator[Metric]:
        yield from _packets_and_bytes("fip64_tenant", "of a tenant", ["tenant"],
                           {(name,): counts for name, counts in traffic.tenants.items()})
        if self._agent.conf.metrics.per_fip:
            yield from _packets_and_bytes("fip64_fip", "of a floating IP", ["tenant", "fip"], traffic.fips)
        errors = CounterMetricFamily("fip64_translator_errors", "Packets that were refused or otherwise "
                                     "special, by reason.", labels=["node", "reason"])
        for labels, value in traffic.errors.items():
            errors.add_metric(labels, value)
        yield errors


def _packets_and_bytes(name: str, whose: str, labels: list[str],
            counts: Mapping[tuple, Mapping[str, Count]]) -> Iterator[Metric]:
    """Yield the counters of packets and of bytes, each by direction."""
    packets = CounterMetricFamily(f"{name}_packets", f"Packets {whose} that were translated.",
                                  labels=[*labels, "direction"])
    octets = CounterMetricFamily(f"{name}_bytes", f"Bytes {whose} that were translated, as they came in.",
                                 labels=[*labels, "direction"])
    for names, directions in hub.yielding(counts.items()):
        for direction, count in directions.items():
            values = [*map(str, names), direction]
            packets.add_metric(values, count.packets)
            octets.add_metric(values, count.octets)
    yield packets
    yield octets


class _CollectedMetrics:
    """The metrics of a registry, collected already. An encoder takes it for the registry."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class MetricsServer:
    """Serves GET /metrics; port 0 serves nothing."""

    def __init__(self, agent, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.url: str | None = None
        """Where metrics are served; None while they are not."""
        self.problem: str | None = None
        """Why metrics are not served although they should be."""
        self._server = hub.WsgiServer(self._application, most=16)
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(AgentCollector(agent))

    def start(self) -> None:
        """Listen and serve, or note why not."""
        if not self._port:
            return
        where = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        try:
            sock = hub.listen_tcp(self._host, self._port)
        except OSError as error:
            self.problem = (f"metrics are not served: [metrics] host and port {where}: "
                            f"{error.strerror or error}; set another [metrics] port (0: none) and restart "
                            "the agent")
            LOG.error("%s; the agent goes on without", self.problem)
            return
        self.url = f"http://{where}/metrics"
        self._server.serve(sock)

    def _application(self, environ, start_response: Callable) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"only /metrics is here\n"]
        try:
            encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
            collected = _CollectedMetrics(list(self.registry.collect()))
            # Thousands of floating IPs take a while to write down: others work meanwhile.
            text = hub.offload(encode, collected)
            start_response("200 OK", [("Content-Type", content_type)])
            return [text]
        except Exception:
            LOG.exception("metrics: a scrape failed")
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"internal error: see the agent's log\n"]

    def stop(self) -> None:
        """Stop serving. May be called again."""
        self._server.stop()
        self.url = None
