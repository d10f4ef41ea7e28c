"""A result with everything in it, for the tests of all reports: names that try to break out of each format included."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

from testbed.experiment.result import (
    Disruption,
    Environment,
    Gap,
    Latency,
    LocustEntry,
    LocustResult,
    Marks,
    ObjectiveResult,
    Outage,
    Phase,
    Requests,
    Result,
    RunResult,
    Series,
    SteadyStateResult,
    TimelineEvent,
    Verdict,
)
from testbed.experiment.statistics import over_runs

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31mred\x1b[0m </script> | `x` {{ 7*7 }}"
STARTED = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)


def sample_result(runs: int = 1, *, verdict: Verdict = Verdict.PASSED, seconds: float = 60.0) -> Result:
    made = tuple(sample_run(number, seconds) for number in range(1, runs + 1))
    return Result(
        run_id="quickstart-11291200-ab3d", name="quickstart", file="quickstart.yaml", seed=7, profile="fast",
        started_at=STARTED, ended_at=STARTED + timedelta(seconds=80), verdict=verdict,
        exit_code=0 if verdict is Verdict.PASSED else 1, reason="" if verdict is Verdict.PASSED else HOSTILE,
        environment=Environment(testbed_version="0.1.0", cluster="default", nodes=3, kernel="6.18", python="3.11.7",
                                engine="docker 20.10.24", cpus=2, memory_bytes=8 << 30, load_average=0.8),
        objectives=(
            ObjectiveResult(text="lose-a-node.isolation.median < 2.5s", disruption="lose-a-node", quantity="isolation",
                            met=True, measured=1.92, limit=2.5, unit="s"),
            ObjectiveResult(text="ship-v2.requests.failed == 0", disruption="ship-v2", quantity="failed", met=False,
                            measured=3, limit=0, unit=""),
            ObjectiveResult(text="latency.p99 < 250ms", quantity="latency.p99", met=None, limit=0.25, unit="s",
                            note=HOSTILE),
        ),
        runs=made, statistics=over_runs(made, 7), artefacts={"report": "report.html"}, notes=(HOSTILE,),
    )


def sample_run(number: int, seconds: float) -> RunResult:
    generator = random.Random(number)
    shift = generator.uniform(0, 0.4)
    disruptions = (crash(6 + shift), hang(16 + shift), lost_node(28 + shift), shipped(44 + shift))
    return RunResult(
        number=number, verdict=Verdict.PASSED, started_at=STARTED, duration_s=seconds, rate=100.0,
        phases=(Phase(name="steady", start_s=0, end_s=5), Phase(name="observe", start_s=5, end_s=56),
                Phase(name="undo", start_s=56, end_s=56.2), Phase(name="converge", start_s=56.2, end_s=57)),
        steady_states=(SteadyStateResult(when="before", what="GET web/ answers 200", met=True, at_s=1.2, waited_s=0.3,
                                         message="answered 200"),
                       SteadyStateResult(when="after", what=HOSTILE, met=False, at_s=57, message=HOSTILE)),
        disruptions=disruptions, outages=tuple(item for one in disruptions for item in one.outages),
        requests=Requests(due=5600, ok=5490, failed=98, late=12, outcomes={"200": 5502, "refused": 98}),
        latency=Latency(p50=0.0021, p95=0.0058, p99=0.41, max=2.1), send_lateness_p99_s=0.0021, restarts=2,
        series=series(disruptions, seconds, generator),
        events=(TimelineEvent(at_s=6.1, kind="ContainerDied", object="pod default/web-1", message=HOSTILE,
                              level="warning"),
                TimelineEvent(at_s=6.3, kind="Started", object="pod default/web-1", message="Started container web"),
                TimelineEvent(at_s=29.9, kind="NodeNotReady", object="node node-2", message="lease is 1.6 s old"),
                TimelineEvent(at_s=32.1, kind="TaintManagerEviction", object="pod default/web-3"),
                TimelineEvent(at_s=32.9, kind="ContainerReady", object="pod default/web-9"),
                TimelineEvent(at_s=30.0, kind="EndpointsProgrammed", object="service default/web")),
        locust=LocustResult(users=5, requests=2140, failures=21, p50=0.003, p95=0.006, p99=0.9,
                            rate=tuple([36.0] * 57),
                            entries=(LocustEntry(name="GET /", requests=2140, failures=21, p50=0.003, p95=0.006),)),
        notes=("rolled on",),
    )


def crash(at: float) -> Disruption:
    return Disruption(
        name="crash", kind="fault", what="PodChaos container-kill", targets=("default/web-7d9-x1/web",),
        jitter_s=0.31, window_s=(at, at + 1.3), restarts=1,
        marks=Marks(injected=at, detected=at + 0.001, isolated=at + 0.014, acted=at + 0.004, running=at + 0.094,
                    ready=at + 1.21, in_rotation=at + 1.23, restored=at + 1.23, first_failed=at + 0.004,
                    last_failed=at + 0.011, latency_normal=at + 0.02),
        gaps=(gap("isolation", "injected", "detected", at, at + 0.001, "the agent saw the process end"),
              gap("isolation", "detected", "unready", at + 0.001, at + 0.009, "its container does not run"),
              gap("isolation", "unready", "isolated", at + 0.009, at + 0.014, "gateway programmed in 4 ms"),
              gap("repair", "injected", "detected", at, at + 0.001, "the agent saw the process end"),
              gap("repair", "detected", "acted", at + 0.001, at + 0.004, "restarted at once"),
              gap("repair", "acted", "running", at + 0.004, at + 0.094, "image start 90 ms"),
              gap("repair", "running", "ready", at + 0.094, at + 1.21, "readiness probe periodSeconds 1"),
              gap("repair", "ready", "in_rotation", at + 1.21, at + 1.23, "EndpointSlice written, gateway programmed")),
        outages=(Outage(start_s=at, end_s=at + 0.02, failed=2, uncertainty_s=0.01),),
        requests=Requests(due=1000, ok=998, failed=2),
    )


def hang(at: float) -> Disruption:
    return Disruption(
        name="hang", kind="fault", what="FreezeChaos", targets=("default/web-7d9-x2",), window_s=(at, at + 6.4),
        marks=Marks(injected=at, detected=at + 1.4, isolated=at + 2.44, acted=at + 3.4, running=at + 4.6,
                    ready=at + 5.7, in_rotation=at + 5.72, restored=at + 5.72, undone=at + 4.5,
                    first_failed=at + 0.01, last_failed=at + 2.4, latency_normal=at + 2.5),
        gaps=(gap("isolation", "injected", "detected", at, at + 1.4, "next readiness probe: periodSeconds 1"),
              gap("isolation", "detected", "unready", at + 1.4, at + 2.4,
                  "readiness probe: periodSeconds 1 × failureThreshold 2"),
              gap("isolation", "unready", "isolated", at + 2.4, at + 2.44, "gateway programmed in 4 ms"),
              gap("repair", "injected", "detected", at, at + 1.4, "next readiness probe: periodSeconds 1"),
              gap("repair", "detected", "acted", at + 1.4, at + 3.4,
                  "liveness probe: periodSeconds 1 × failureThreshold 3"),
              gap("repair", "acted", "running", at + 3.4, at + 4.6, "stopping took 1.1 s, image start 90 ms"),
              gap("repair", "running", "ready", at + 4.6, at + 5.7, HOSTILE),
              gap("repair", "ready", "in_rotation", at + 5.7, at + 5.72, "gateway programmed in 4 ms")),
        outages=(Outage(start_s=at, end_s=at + 2.5, failed=61, uncertainty_s=0.01),),
        requests=Requests(due=1200, ok=1139, failed=61),
    )


def lost_node(at: float) -> Disruption:
    return Disruption(
        name="lose-a-node", kind="fault", what="NodeChaos kill", targets=("node-2",), window_s=(at, at + 15),
        marks=Marks(injected=at, detected=at + 1.8, isolated=at + 1.92, acted=at + 3.9, running=at + 4.5,
                    ready=at + 5.1, in_rotation=at + 5.12, restored=at + 5.4, undone=at + 15, first_failed=at,
                    last_failed=at + 1.9, latency_normal=at + 2.0),
        gaps=(gap("isolation", "injected", "detected", at, at + 1.8, "node monitor grace 1.5 s"),
              gap("isolation", "detected", "isolated", at + 1.8, at + 1.92, "gateway programmed in 4 ms"),
              gap("repair", "injected", "detected", at, at + 1.8, "node monitor grace 1.5 s"),
              gap("repair", "detected", "acted", at + 1.8, at + 3.9,
                  "toleration 2 s of node.kubernetes.io/unreachable, then evicted"),
              gap("repair", "acted", "running", at + 3.9, at + 4.5, "new pod: sandbox and image start 580 ms"),
              gap("repair", "running", "ready", at + 4.5, at + 5.1, "application start + readiness probe"),
              gap("repair", "in_rotation", "restored", at + 5.12, at + 5.4, "1 more replica to mend")),
        outages=(Outage(start_s=at, end_s=at + 2.0, failed=35, uncertainty_s=0.01),),
        requests=Requests(due=1600, ok=1565, failed=35), notes=("a note",),
    )


def shipped(at: float) -> Disruption:
    return Disruption(
        name="ship-v2", kind="rollout", what="rollout of web to sample:v2", targets=("deployment default/web",),
        window_s=(at, at + 9),
        marks=Marks(injected=at, detected=at + 0.02, acted=at + 0.04, running=at + 0.6, ready=at + 1.5,
                    in_rotation=at + 1.52, restored=at + 9),
        gaps=(gap("repair", "injected", "detected", at, at + 0.02, "the Deployment controller saw the change"),
              gap("repair", "acted", "running", at + 0.04, at + 0.6, "new pod"),
              gap("repair", "in_rotation", "restored", at + 1.52, at + 9, "4 replicas, maxSurge 1, maxUnavailable 0")),
        requests=Requests(due=1200, ok=1200),
    )


def gap(path: str, start: str, end: str, start_s: float, end_s: float, cause: str) -> Gap:
    return Gap(path="isolation" if path == "isolation" else "repair", start_mark=start, end_mark=end, start_s=start_s,
               end_s=end_s, cause=cause)


def series(disruptions: tuple[Disruption, ...], seconds: float, generator: random.Random) -> Series:
    count = int(seconds / 0.1)
    due, failed, p50, p95, p99, ready = [], [], [], [], [], []
    for index in range(count):
        t = index * 0.1
        out = [item for one in disruptions for item in one.outages if item.start_s <= t < item.end_s]
        asleep = t < 3 or t > 57
        due.append(0 if asleep else 10)
        failed.append(0 if asleep or not out else generator.randint(1, 4))
        base = 0.002 * math.exp(generator.gauss(0, 0.15))
        p50.append(None if asleep else base)
        p95.append(None if asleep else base * (2.5 if not out else 200))
        p99.append(None if asleep else base * (3.2 if not out else 500))
        lost = sum(1 for one in disruptions if one.kind == "fault" and one.marks.detected is not None
                   and one.marks.restored is not None and one.marks.detected <= t < one.marks.restored)
        ready.append(4 - lost)
    restarts = [0] * count
    restarts[61], restarts[206] = 1, 1
    return Series(due=tuple(due), failed=tuple(failed), p50=tuple(p50), p95=tuple(p95), p99=tuple(p99),
                  ready=tuple(ready), desired=tuple([4] * count), restarts=tuple(restarts))
