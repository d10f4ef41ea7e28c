"""Actions and probes for Chaos Toolkit experiments, through its python provider: our faults, and what came of them.

They need a cluster that is up: the one of ``testbed run --name`` (or ``TESTBED_NAME``). Any tool that takes the python
provider can use them, ``testbed run`` and ``chaos run`` alike.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.testing.bench import Testbed
    from testbed.testing.recovery import Recovery

__all__ = ["inject", "ready", "recovery"]
_last: list[Recovery] = []
_open: list[Testbed] = []  # while its fault may be in force


@atexit.register
def _take_back() -> None:
    """An interrupted run leaves ``inject`` behind in its thread; what it injected goes with the process."""
    for bench in _open:
        from testbed.client.sync import connect
        from testbed.errors import TestbedError

        with contextlib.suppress(TestbedError), connect(os.environ.get("TESTBED_NAME", "default")) as cluster:
            for fault in bench.in_force:
                with contextlib.suppress(TestbedError):
                    cluster.delete(fault["kind"], fault["metadata"]["name"], fault["metadata"]["namespace"])


def inject(
    fault: str, target: str = "", duration: str = "20s", settings: dict[str, Any] | None = None,
    service: str = "", rate: float = 100.0, timeout: str = "60s", namespace: str = "default",
) -> dict[str, Any]:
    """An action: injects a fault (``container-kill``, ``network-delay`` ...; ``testbed faults``), holds it for
    ``duration``, takes it back and waits for the recovery, at most ``timeout``.

    Args:
        target: deployment/web, pod/NAME, node/NAME or labels. settings: fields by path, {"delay.latency": "100ms"}.
        service: where requests are sent meanwhile, ``rate`` a second, so that an outage is measured.

    Returns: as ``recovery``. Raises: TestbedError when the fault did not take effect, or no measurement of it can be
    trusted.
    """
    import time

    from testbed.api.instance_files import instance_directory, load_instance
    from testbed.experiment.durations import parse_duration
    from testbed.testing.bench import Testbed
    from testbed.testing.cluster import SessionCluster

    name = os.environ.get("TESTBED_NAME", "default")
    load_instance(instance_directory(name))  # says how to bring it up where it is not
    held_s = parse_duration(duration)
    cluster = SessionCluster.open(name)
    try:
        bench = Testbed(cluster.platform, cluster.loop, Path(), cluster.runs_folder, name="toolkit",
                        namespace=namespace, pulse={"service": service, "rate": rate} if service else None)
        _open.append(bench)
        with bench.fault(fault, target, duration=duration, timeout=timeout, settings=settings):
            if bench.lasts(fault):
                time.sleep(held_s)
        _last[:] = [bench.recovery]
    finally:
        _open.clear()
        cluster.close()
    return recovery()


def recovery() -> dict[str, Any]:
    """A probe: how the cluster got over the last ``inject``, for a tolerance with ``target: isolation`` and so on.

    Returns: ``detection``, ``isolation``, ``repair`` in seconds, null for what never came (no range meets that); with a
    service also ``outage`` in seconds and ``failed``, a number of requests. Before the first ``inject`` all are 0, and
    ``fault`` is null: there is nothing to get over, so that a hypothesis can hold before the method too.
    """
    if not _last:
        return {"fault": None, "detection": 0.0, "isolation": 0.0, "repair": 0.0, "outage": 0.0, "failed": 0}
    last = _last[0]
    found: dict[str, Any] = {"fault": last.name, "detection": last.detection, "isolation": last.isolation,
                             "repair": last.repair}
    if last.measures_clients:
        found |= {"outage": last.outage, "failed": last.requests.failed}
    return {key: _told(value) if isinstance(value, float) else value for key, value in found.items()}


def _told(seconds: float) -> float | None:
    import math

    return None if math.isinf(seconds) else round(seconds, 3)


def ready(deployment: str, namespace: str = "default") -> bool:
    """A probe: whether a Deployment is complete: every desired pod up to date and available."""
    from testbed.client.conditions import rolled_out
    from testbed.client.sync import connect

    with connect(os.environ.get("TESTBED_NAME", "default")) as cluster:
        return rolled_out(cluster.get("deployment", deployment, namespace))
