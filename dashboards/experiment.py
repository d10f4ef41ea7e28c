"""The dashboard Experiment: what load met while something was broken, and how long each phase of recovery took.

It shows a run while it goes on, and lets past ones be found again. Verdicts are the report's, which knows each request;
here is what was seen once a second.
"""

from __future__ import annotations

from typing import Any

from boards import board
from grafana_foundation_sdk.models import dashboard
from panels import GOOD_WHEN_FULL, GOOD_WHEN_ZERO, NO_COLOUR, alerted, bars, graph, heat_map, listing, number, states
from queries import EXPERIMENT, appeared, of, quantile, query, rate
from shared import NO_LOAD, OUTCOMES, endpoints_by_state, failed_probes, replicas, requests_by_outcome, restarts

PHASES = ("steady", "inject", "observe", "undo", "converge")
NO_RUN = "no experiment has run yet: testbed run"
NO_OBJECTIVE = "no objective is known yet"
NO_DISRUPTION = "no disruption was measured yet"
DURATION = "testbed_request_duration_seconds"
RECOVERY = "testbed_recovery_seconds"


def experiment() -> dashboard.Dashboard:
    return board(
        "testbed-experiment", "Experiment", "Load, errors, latency and ready replicas while faults are in force, the "
        "phases of recovery, and objectives.", ("experiment", "namespace"),
        (("Now", now()), ("Load", load()), ("Faults and the cluster", faults()), ("Recovery", recovery()),
         ("Objectives and verdicts", outcome())))


def _phase() -> str:
    """0 between runs, else the number of the phase, from 1."""
    return " or ".join(f"{count} * {of('testbed_experiment_phase', EXPERIMENT, phase=name)}"
                       for count, name in enumerate(PHASES, 1))


def _share(*outcomes: str) -> str:
    """Of all requests."""
    return (f"sum({rate('testbed_requests_total', EXPERIMENT, *outcomes)}) / "
            f"sum({rate('testbed_requests_total', EXPERIMENT)})")


def now() -> list[Any]:
    met = of("testbed_objective_met", EXPERIMENT)
    return [
        number("Phase", "What the running experiment is doing.", f"max({_phase()})", steps=NO_COLOUR, none=NO_RUN,
               states=("between runs", *PHASES)),
        number("Requests", "Requests that were due, per second.", f"sum({rate('testbed_requests_total', EXPERIMENT)})",
               unit="reqps", steps=NO_COLOUR, none=NO_LOAD),
        number("Not well answered", "Share of requests that failed, came late or were never sent.",
               _share('outcome!="ok"'), unit="percentunit", steps=GOOD_WHEN_ZERO, none=NO_LOAD),
        number("Latency p99", "Of 100 requests, 99 were answered within this time, counted from when they were due.",
               quantile(0.99, DURATION, EXPERIMENT), unit="s", steps=NO_COLOUR, none=NO_LOAD),
        number("Objectives met", "Share of the objectives that hold in what was measured so far.",
               f"sum({met}) / count({met})", unit="percentunit", steps=GOOD_WHEN_FULL, none=NO_OBJECTIVE),
        number("Injections", "Injections within the time shown, of every experiment and of people.",
               f"sum({appeared('testbed_faults_total')})", steps=NO_COLOUR, whole_range=True),
    ]


def load() -> list[Any]:
    return [
        requests_by_outcome(12, EXPERIMENT),
        graph("Errors", alerted("Share of requests that were not answered well, by outcome.", "ErrorBudgetBurnFast",
                                "ErrorBudgetBurnSlow"),
              *(query(_share(f'outcome="{name}"'), name) for name in OUTCOMES[1:]), unit="percentunit", none=NO_LOAD,
              states=OUTCOMES[1:], most=1),
        graph("Latency", "Quantiles of the time from when a request was due to its answer.",
              *(query(quantile(percent / 100, DURATION, EXPERIMENT), f"p{percent}") for percent in (50, 95, 99)),
              unit="s", none=NO_LOAD, states=("p50", "p95", "p99")),
        heat_map("Latencies", "How many requests had which latency: a slow minority shows here and in no quantile.",
                 f"sum by (le) (increase({of(f'{DURATION}_bucket', EXPERIMENT)}[$__rate_interval]))", unit="s",
                 none=NO_LOAD),
    ]


def faults() -> list[Any]:
    return [
        states("Phases", "What each experiment was doing.",
               query(f"max by (experiment) ({_phase()})", "{{experiment}}"), texts=("between runs", *PHASES),
               none=NO_RUN, height=4),
        states("Fault windows", alerted(
            "Each injection for as long as it holds. Kills hold nothing: they are marks on the graphs.",
            "FaultNotUndone", "FaultLeftActive"),
               query(f"max by (fault, target) ({of('testbed_fault_active')})", "{{fault}} {{target}}"),
               texts=("off", "in force"), none="nothing was broken"),
        replicas(12), endpoints_by_state(12), restarts(12), failed_probes(12),
    ]


def recovery() -> list[Any]:
    def taken(which: float, by: str) -> str:
        """Of all disruptions since the cluster's start: a run has too few of them for a rate."""
        return f"histogram_quantile({which}, sum by (le, {by}) ({of(f'{RECOVERY}_bucket')}))"

    return [
        bars("Median recovery by phase", "Seconds from the injection to each mark of recovery, and how long clients "
             "had no answer (outage). Median of all disruptions this cluster has had.", taken(0.5, "phase"),
             "{{phase}}", unit="s", none=NO_DISRUPTION),
        listing("Recovery by fault and phase", "The same by fault. Bounds of the histogram limit how exact these are; "
                "the report knows each value.", {
                    "Disruptions": (f"sum by (fault, phase) ({of(f'{RECOVERY}_count')})", "short", None),
                    "Median": (taken(0.5, "fault, phase"), "s", None),
                    "p90": (taken(0.9, "fault, phase"), "s", None),
                }, {"fault": "Fault", "phase": "Phase"}, none=NO_DISRUPTION, span=12),
    ]


def outcome() -> list[Any]:
    return [
        states("Objectives", alerted("Whether each objective holds in what was measured so far.", "ObjectiveMissed"),
               query(f"max by (experiment, objective) ({of('testbed_objective_met', EXPERIMENT)})",
                     "{{experiment}}: {{objective}}"), texts=("missed", "met"), none=NO_OBJECTIVE, span=16, height=8),
        graph("Finished runs by verdict", "Runs that have ended, by how they were judged.",
              query(f"sum by (verdict) ({of('testbed_runs_total', EXPERIMENT)})", "{{verdict}}"), span=8, stacked=True,
              none="no run has ended yet", states=("passed", "objective missed", "inconclusive", "void")),
    ]
