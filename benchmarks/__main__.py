"""``python -m benchmarks [SUBJECT ...]``: prints the table; all subjects when none is named."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence

from benchmarks.cluster import bench_cluster
from benchmarks.rows import Row

SUBJECTS = ("crash", "service", "pulse", "idle", "rolling", "reconcile", "size", "faults", "network", "cost")
ALONE = ("truth", "load", "page", "metrics")  # need no cluster


def main() -> None:
    known = (*SUBJECTS, *ALONE)
    wanted = sys.argv[1:] or known
    unknown = [subject for subject in wanted if subject not in known]
    if unknown:
        raise SystemExit(f"there is no subject {unknown[0]!r}; known: {', '.join(known)}")
    rows: list[Row] = []
    for row in measured(wanted):
        rows.append(row)
        say(row)
    load = os.getloadavg()[0]
    print(f"\n{os.cpu_count()} processors, load {load:.1f}; {sum(row.met for row in rows)} of {len(rows)} targets met")  # noqa: T201


def measured(wanted: Sequence[str]) -> Iterator[Row]:
    """The rows of these subjects as they come; a cluster is only up while one of them needs it."""
    for subject in wanted:
        if subject in ALONE:
            yield from importlib.import_module(f"benchmarks.{subject}").measure_alone()
    on_cluster = [subject for subject in wanted if subject not in ALONE]
    if not on_cluster:
        return
    with bench_cluster("bench", nodes=3) as cluster:
        yield Row("testbed up, 3 nodes Ready, images present", cluster.up_s, 8, "s")
        for subject in on_cluster:
            yield from importlib.import_module(f"benchmarks.{subject}").measure(cluster)


def say(row: Row) -> None:
    print(row.line(), flush=True)  # noqa: T201


main()
