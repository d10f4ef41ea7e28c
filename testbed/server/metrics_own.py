"""What the control plane shows of itself: its controllers, its store, what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import testbed
from testbed.api.exposition import COUNTER, HISTOGRAM, Family, histogram_metric, metric
from testbed.api.resources import ENDPOINT_SLICES, ResourceType
from testbed.controlplane.controller import Controller
from testbed.server.discovery import VERSION
from testbed.server.request_counts import RequestCounts
from testbed.store import Store

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Json = dict[str, Any]

BUILD = Family("testbed_build_info", "The testbed that answers; always 1.", ("version",))
KUBERNETES_BUILD = Family(
    "kubernetes_build_info", "The version of Kubernetes' API that is served; always 1.", ("major", "minor",
                                                                                         "git_version", "platform"))
ENDPOINTS = Family("testbed_endpoints", "Endpoints of all Services, by state.", ("state",))
DEPTH = Family("testbed_workqueue_depth", "Keys that wait for a controller.", ("controller",))
QUEUE_WAIT = Family(
    "testbed_queue_wait_seconds", "How long a key waits for a controller.", ("controller",), HISTOGRAM)
LOOKS = Family(
    "testbed_reconcile_duration_seconds", "How long one look of a controller takes.", ("controller",), HISTOGRAM)
FAILED_LOOKS = Family(
    "testbed_reconcile_failures_total", "Looks of a controller that failed and were retried.", ("controller",), COUNTER)
OBJECTS = Family("testbed_store_objects", "Objects in the store, by kind.", ("resource",))
BYTES = Family("testbed_store_bytes", "Size of the database.")
WRITES = Family("testbed_store_write_duration_seconds", "How long one write to the database takes.", (), HISTOGRAM)
WATCHES = Family("testbed_watches", "Watches that are open over HTTP.")
REQUESTS = Family(
    "testbed_api_requests_total", "Requests over HTTP that were answered; a watch counts when it ends.",
    ("verb", "resource", "code"), COUNTER)
LATENCIES = Family(
    "testbed_api_request_duration_seconds", "How long an answer takes, without watches and other streams.", ("verb",),
    HISTOGRAM)

FAMILIES = (BUILD, KUBERNETES_BUILD, ENDPOINTS, DEPTH, QUEUE_WAIT, LOOKS, FAILED_LOOKS, OBJECTS, BYTES, WRITES, WATCHES,
            REQUESTS, LATENCIES)


def build_metrics() -> Iterator[Metric]:
    yield metric(BUILD, [((testbed.__version__,), 1)])
    yield metric(KUBERNETES_BUILD, [(tuple(VERSION[key] for key in ("major", "minor", "gitVersion", "platform")), 1)])


def endpoint_metrics(items: Callable[[ResourceType], list[Json]]) -> Iterator[Metric]:
    counts = {"ready": 0, "unready": 0, "terminating": 0}
    for item in items(ENDPOINT_SLICES):
        for endpoint in item.get("endpoints") or ():
            counts[_endpoint_state(endpoint.get("conditions") or {})] += 1
    yield metric(ENDPOINTS, [((state,), count) for state, count in counts.items()])


def controller_metrics(controllers: Sequence[Controller]) -> Iterator[Metric]:
    yield metric(DEPTH, [((item.name,), item.queue.depth) for item in controllers])
    yield histogram_metric(QUEUE_WAIT, [((item.name,), item.queue.waits) for item in controllers])
    yield histogram_metric(LOOKS, [((item.name,), item.looks) for item in controllers])
    yield metric(FAILED_LOOKS, [((item.name,), item.failures) for item in controllers])


def store_metrics(store: Store) -> Iterator[Metric]:
    yield metric(OBJECTS, [((kind,), store.count(kind)) for kind in sorted(store.kinds())])
    yield metric(BYTES, [((), store.size_bytes)])
    yield histogram_metric(WRITES, [((), store.writes)])


def request_metrics(requests: RequestCounts) -> Iterator[Metric]:
    yield metric(WATCHES, [((), requests.open["watch"])])
    yield metric(REQUESTS, sorted(requests.total.items()))
    yield histogram_metric(LATENCIES, [((verb,), requests.durations[verb]) for verb in sorted(requests.durations)])


def _endpoint_state(conditions: Json) -> str:
    if conditions.get("terminating"):
        return "terminating"
    return "ready" if conditions.get("ready") else "unready"
