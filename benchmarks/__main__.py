"""``python -m benchmarks [SUBJECT ...]``: prints the table; all subjects when none is named."""

from __future__ import annotations

import importlib
import os
import sys

from benchmarks.cluster import bench_cluster
from benchmarks.rows import Row

SUBJECTS = ("crash", "service", "pulse", "idle", "rolling", "reconcile", "size", "faults", "network")


def main() -> None:
    wanted = sys.argv[1:] or SUBJECTS
    unknown = [subject for subject in wanted if subject not in SUBJECTS]
    if unknown:
        raise SystemExit(f"there is no subject {unknown[0]!r}; known: {', '.join(SUBJECTS)}")
    rows: list[Row] = []
    with bench_cluster("bench", nodes=3) as cluster:
        rows.append(Row("testbed up, 3 nodes Ready, images present", cluster.up_s, 8, "s"))
        say(rows[-1])
        for subject in wanted:
            for row in importlib.import_module(f"benchmarks.{subject}").measure(cluster):
                rows.append(row)
                say(row)
    load = os.getloadavg()[0]
    print(f"\n{os.cpu_count()} processors, load {load:.1f}; {sum(row.met for row in rows)} of {len(rows)} targets met")  # noqa: T201


def say(row: Row) -> None:
    print(row.line(), flush=True)  # noqa: T201


main()
