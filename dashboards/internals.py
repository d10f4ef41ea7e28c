"""The dashboard Testbed internals: whether the instrument itself is well, so that what it shows can be trusted."""

from __future__ import annotations

from typing import Any

from boards import board
from grafana_foundation_sdk.models import dashboard
from panels import GOOD_WHEN_ZERO, NO_COLOUR, alerted, graph, names, number, states
from queries import increase, of, quantile, query, rate

CONTROLLER = 'controller=~"$controller"'
NO_API, NO_TARGET = "the control plane is not scraped", "nothing is scraped"
NO_GATEWAY, NO_INGRESS = "the gateway is not scraped", "no Ingress: HAProxy does not run"
TARGET = "{{part}} {{node}}"
LATE_S, TOO_LATE_S = 0.1, 0.5  # of a loop
SLOW_S, WAITS_S, SCRAPE_S = 0.5, 1.0, 1.0  # of a look, in a queue, for a scrape


def internals() -> dashboard.Dashboard:
    return board(
        "testbed-internals", "Internals", "Reconcile loops, queues, store, API, event loops, gateway, and how "
        "well all of it is scraped.", ("controller",),
        (("Now", now()), ("Controllers", controllers()), ("API", api()), ("Store", store()),
         ("Processes and scraping", processes()), ("Gateway and HAProxy", gateway())))


def now() -> list[Any]:
    return [
        names("Version", "The testbed that answers.",
              query(f"max by (version) ({of('testbed_build_info')})", "{{version}}"), none=NO_API),
        number("Targets down", "Processes of ours that Prometheus cannot read just now.", f"sum(1 - {of('up')})",
               steps=GOOD_WHEN_ZERO, none=NO_TARGET),
        number("Objects", "Objects in the store.", f"sum({of('testbed_store_objects')})", steps=NO_COLOUR,
               none=NO_API),
        number("Watches", "Clients that watch the API.", f"sum({of('testbed_watches')})", steps=NO_COLOUR,
               none=NO_API),
        number("Worst loop lag", "How late an event loop of ours came, at worst in the last 10 s.",
               f"max({of('testbed_loop_lag_seconds')})", unit="s",
               steps=((None, "green"), (LATE_S, "orange"), (TOO_LATE_S, "red")), none=NO_API),
        number("Failed looks", "Looks of controllers that failed and were retried, within the time shown.",
               f"sum({increase('testbed_reconcile_failures_total', CONTROLLER)})", steps=GOOD_WHEN_ZERO,
               whole_range=True, none=NO_API),
    ]


def controllers() -> list[Any]:
    by, look = "{{controller}}", "testbed_reconcile_duration_seconds"
    return [
        graph("Work queues", alerted("Objects that wait for their controller.", "TestbedQueueLate"),
              query(f"sum by (controller) ({of('testbed_workqueue_depth', CONTROLLER)})", by), none=NO_API),
        graph("Time in the queue", "Quantile 0.95 of how long an object waits for its controller.",
              query(quantile(0.95, "testbed_queue_wait_seconds", CONTROLLER, by="controller"), by), unit="s",
              none=NO_API, limit=WAITS_S),
        graph("Time of a look", alerted("Quantile 0.95 of how long one look of a controller takes.",
                                        "TestbedReconcileSlow"),
              query(quantile(0.95, look, CONTROLLER, by="controller"), by), unit="s", none=NO_API, limit=SLOW_S),
        graph("Looks", "Looks per second, by controller.",
              query(f"sum by (controller) ({rate(f'{look}_count', CONTROLLER)})", by), unit="ops", stacked=True,
              none=NO_API),
    ]


def api() -> list[Any]:
    return [
        graph("API requests", "Requests per second, by what was asked.",
              query(f"sum by (verb) ({rate('testbed_api_requests_total')})", "{{verb}}"), unit="reqps", stacked=True,
              span=8, none=NO_API),
        graph("API answers", "Answers per second, by status code.",
              query(f"sum by (code) ({rate('testbed_api_requests_total')})", "{{code}}"), unit="reqps", stacked=True,
              span=8, none=NO_API),
        graph("API latency", "Quantile 0.99 of how long an answer takes; watches and streams are left out.",
              query(quantile(0.99, "testbed_api_request_duration_seconds", by="verb"), "{{verb}}"), unit="s", span=8,
              none=NO_API),
    ]


def store() -> list[Any]:
    return [
        graph("Objects by kind", "Objects in the store.",
              query(f"sum by (resource) ({of('testbed_store_objects')})", "{{resource}}"), stacked=True, span=8,
              none=NO_API),
        graph("Size of the store", "Bytes of its files.", query(f"sum({of('testbed_store_bytes')})", "store"),
              unit="bytes", span=8, none=NO_API),
        graph("Time of a write", "Quantiles of how long the store takes to make a change durable.",
              *(query(quantile(percent / 100, "testbed_store_write_duration_seconds"), f"p{percent}")
                for percent in (50, 95, 99)), unit="s", span=8, none=NO_API, states=("p50", "p95", "p99")),
    ]


def processes() -> list[Any]:
    return [
        states("Scraped", alerted("Whether Prometheus can read each process. A node that is down or cut off cannot be "
                                  "read.", "TargetDown"),
               query(f"max by (part, node) ({of('up')})", TARGET), texts=("down", "up"), none=NO_TARGET),
        graph("Loop lag", alerted("How late each event loop came, at worst in the last 10 s: late loops act late.",
                                  "TestbedLoopLate"),
              query(f"max by (process) ({of('testbed_loop_lag_seconds')})", "{{process}}"), unit="s", span=8,
              none=NO_API, limit=TOO_LATE_S),
        graph("CPU of our processes", "Cores that each uses.",
              query(f"sum by (part, node) ({rate('process_cpu_seconds_total')})", TARGET), span=8, none=NO_TARGET),
        graph("Memory of our processes", "Resident memory of each.",
              query(f"max by (part, node) ({of('process_resident_memory_bytes')})", TARGET), unit="bytes", span=8,
              none=NO_TARGET),
        graph("Time of a scrape", "How long each process takes to tell its metrics; above 1 s looks are missed.",
              query(f"max by (part, node) ({of('scrape_duration_seconds')})", TARGET), unit="s",
              none=NO_TARGET, limit=SCRAPE_S),
        graph("Size of a scrape", "Samples that each process tells.",
              query(f"max by (part, node) ({of('scrape_samples_scraped')})", TARGET), none=NO_TARGET),
    ]


def gateway() -> list[Any]:
    proxy = 'proxy!="metrics"'  # what we ask it ourselves
    return [
        graph("Programming of Services", "Quantile 0.95 of how long a change takes until it holds for new connections.",
              query(quantile(0.95, "kubeproxy_sync_proxy_rules_duration_seconds"), "p95"), unit="s", span=8,
              none=NO_GATEWAY, states=("p95",)),
        graph("DNS answers", "Answers of the cluster's DNS per second, by code.",
              query(f"sum by (rcode) ({rate('testbed_gateway_dns_answers_total')})", "{{rcode}}"), unit="reqps",
              stacked=True, span=8, none="no name has been asked for yet"),
        graph("Connections followed", "As part of those that the gateway's kernel can follow; more are refused.",
              query(f"sum({of('testbed_gateway_conntrack_entries')}) / "
                    f"sum({of('testbed_gateway_conntrack_entries_limit')})", "followed"), unit="percentunit", span=8,
              none=NO_GATEWAY, limit=1),
        graph("HAProxy requests", "Requests per second through the Ingresses.",
              query(f"sum by (proxy) ({rate('haproxy_frontend_http_requests_total', proxy)})", "{{proxy}}"),
              unit="reqps",
              span=8, none=NO_INGRESS),
        graph("HAProxy answers", "Answers per second of each backend, by class of status code.",
              query(f"sum by (proxy, code) ({rate('haproxy_backend_http_responses_total', proxy)})",
                    "{{proxy}} {{code}}"), unit="reqps", stacked=True, span=8, none=NO_INGRESS),
        graph("HAProxy sessions", "Sessions that are open.",
              query(f"sum by (proxy) ({of('haproxy_frontend_current_sessions', proxy)})", "{{proxy}}"), span=8,
              none=NO_INGRESS),
    ]
