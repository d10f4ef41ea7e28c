"""What the gateway counts (``compose/images/gateway/counts.py``), under names for Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from testbed.api.exposition import COUNTER, HISTOGRAM, Family, Sample, client_text, histogram_metric, metric
from testbed.api.measures import Histogram
from testbed.api.scrape import LAG

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Json = dict[str, Any]

STATES = Family("testbed_gateway_states_total", "Whole states that the gateway was told, by what came of them.",
                ("result",), COUNTER)
ERRORS = Family("testbed_gateway_nftables_errors_total", "States that nftables refused.", (), COUNTER)
AGE = Family("testbed_gateway_state_age_seconds", "Since a whole state was told last; one is told at a change.")
APPLIES = Family("kubeproxy_sync_proxy_rules_duration_seconds", "How long a changed state takes to come into force.",
                 (), HISTOGRAM)
PORTS = Family("testbed_gateway_service_ports", "Ports of Services that are translated.")
ENDPOINTS = Family("testbed_gateway_endpoints", "Addresses in rotation, over all ports of Services.")
QUERIES = Family("testbed_gateway_dns_queries_total", "Questions to the cluster's DNS that were answered.",
                 ("transport",), COUNTER)
ANSWERS = Family("testbed_gateway_dns_answers_total", "Answers of the cluster's DNS, by response code.", ("rcode",),
                 COUNTER)
TRACKED = Family("testbed_gateway_conntrack_entries", "Connections that the gateway's kernel follows.")
TRACKED_LIMIT = Family("testbed_gateway_conntrack_entries_limit", "How many connections it can follow.")
INGRESS_PROGRAMS = Family("testbed_gateway_ingress_programs_total", "Routing plans for HAProxy, by what it took to "
                          "bring them into force.", ("result",), COUNTER)
INGRESS_RESTARTS = Family("testbed_gateway_haproxy_restarts_total", "Times that HAProxy ended by itself and was "
                          "started again.", (), COUNTER)
INGRESS_RUNNING = Family("testbed_gateway_haproxy_running", "1 while there is an Ingress, and so HAProxy is to run.")
CPU = Family("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", (), COUNTER)
RESIDENT = Family("process_resident_memory_bytes", "Resident memory size in bytes.")

FAMILIES = (STATES, ERRORS, AGE, APPLIES, PORTS, ENDPOINTS, QUERIES, ANSWERS, TRACKED, TRACKED_LIMIT, INGRESS_PROGRAMS,
            INGRESS_RESTARTS, INGRESS_RUNNING, CPU, RESIDENT, LAG)


def gateway_text(counts: Json) -> bytes:
    """Raises: ValueError when they are not what a gateway counts."""
    try:
        return client_text(lambda: list(_metrics(counts)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the gateway's counts are of another form: {error!r}") from None


def _metrics(counts: Json) -> Iterator[Metric]:
    applies, process, ingress = counts["applies"], counts["process"], counts["ingress"]
    yield metric(STATES, _by_key(counts["states"]))
    yield metric(ERRORS, [((), counts["nftables_errors"])])
    yield metric(AGE, _one(counts["state_age_s"]))
    yield histogram_metric(APPLIES, [((), _histogram(applies))])
    yield metric(PORTS, [((), counts["service_ports"])])
    yield metric(ENDPOINTS, [((), counts["endpoints"])])
    yield metric(QUERIES, _by_key(counts["dns"]["queries"]))
    yield metric(ANSWERS, _by_key(counts["dns"]["answers"]))
    yield metric(TRACKED, _one(counts["conntrack"]["entries"]))
    yield metric(TRACKED_LIMIT, _one(counts["conntrack"]["limit"]))
    yield metric(INGRESS_PROGRAMS, _by_key(ingress["programs"]))
    yield metric(INGRESS_RESTARTS, [((), ingress["restarts"])])
    yield metric(INGRESS_RUNNING, [((), float(ingress["running"]))])
    yield metric(CPU, [((), process["cpu_s"])])
    yield metric(RESIDENT, [((), process["rss_bytes"])])
    yield metric(LAG, [(("gateway",), process["lag_s"])])


def _by_key(counts: Mapping[str, float]) -> list[Sample]:
    return [((key,), value) for key, value in sorted(counts.items())]


def _one(value: float | None) -> list[Sample]:
    """Nothing where it is not known."""
    return [] if value is None else [((), value)]


def _histogram(told: Json) -> Histogram:
    made = Histogram(told["bounds"])
    made.counts, made.sum = [int(count) for count in told["counts"]], float(told["sum_s"])
    return made
