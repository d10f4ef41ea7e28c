"""Writes the dashboards as Grafana's classic JSON, which every Grafana from 10 on provisions from files.

    python dashboards/generate.py            writes them, and removes those that are none any more
    python dashboards/generate.py --check    says which are out of date, and ends with 1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiment import experiment
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from internals import internals
from nodes import nodes
from overview import overview
from rollouts import rollouts

DASHBOARDS = {"overview.json": overview, "experiment.json": experiment, "nodes.json": nodes,
              "rollouts.json": rollouts, "internals.json": internals}


def rendered() -> dict[str, str]:
    """File name -> text."""
    encoder = JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False)
    return {name: encoder.encode(make()) + "\n" for name, make in DASHBOARDS.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent / "grafana")
    arguments = parser.parse_args()
    wanted = rendered()
    there = {file.name: file.read_text() for file in arguments.folder.glob("*.json")}
    stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if arguments.check:
        if stale:
            sys.stderr.write("out of date: " + ", ".join(stale) + " (run: make dashboards)\n")
        return int(bool(stale))
    arguments.folder.mkdir(exist_ok=True)
    for name in stale:
        if name in wanted:
            (arguments.folder / name).write_text(wanted[name])
        else:
            (arguments.folder / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
