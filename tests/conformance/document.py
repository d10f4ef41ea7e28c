"""Writes ``docs/conformance.md`` from what the last run of the cases recorded: ``make conformance``."""

from __future__ import annotations

import sys
from pathlib import Path

from cases.catalogue import CATALOGUE, LEFT_OUT
from cases.outcomes import read
from cases.registry import CASES, Case

TARGET = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
HEAD = """# Conformance

Kubernetes' own end-to-end cases, run here with upstream's timing constants: every one in virtual time on the simulated
engine, and on Docker those that end within 60 s. Written by `make conformance`; the bodies are in
`tests/conformance/cases`, one for both engines.

**Simulated: {simulated} of {asked} ({share:.1f} %). Docker: {docker} of the {on_docker} that run there.**

| case | what | simulated | Docker | |
|---|---|---|---|---|
"""


def main() -> int:
    rows, simulated, docker, on_docker = [], 0, 0, 0
    for identity, what in CATALOGUE.items():
        bodies = [case for case in CASES.values() if case.id == identity]
        if not bodies:
            rows.append((identity, what, "–", "–", LEFT_OUT.get(identity, "no body yet")))
            continue
        real = [case for case in bodies if not case.not_on_docker]
        first, why = _verdict(bodies, "simulated")
        second, why_docker = _verdict(real, "docker") if real else ("–", "")
        simulated += first == "passed"
        on_docker += bool(real)
        docker += second == "passed"
        absent = sorted({case.not_on_docker for case in bodies if case.not_on_docker})
        rows.append((identity, what, first, second, "; ".join(filter(None, (why, why_docker, *absent)))))
    asked = len(CATALOGUE) - len(LEFT_OUT)
    TARGET.write_text(HEAD.format(simulated=simulated, asked=asked, share=100 * simulated / asked, docker=docker,
                                  on_docker=on_docker)
                      + "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in rows))
    sys.stdout.write(f"{TARGET.name}: simulated {simulated} of {asked}, Docker {docker} of {on_docker}\n")
    return 0


def _verdict(cases: list[Case], engine: str) -> tuple[str, str]:
    """``passed`` only when all bodies have; else the reason, or ``not run``."""
    found = [(case, read(case, engine)) for case in cases]
    failed = [f"{case.name}: {outcome['reason']}" for case, outcome in found if outcome and not outcome["passed"]]
    if failed:
        return "FAILED", "; ".join(failed)
    if any(outcome is None for _, outcome in found):
        return "not run", ""
    return "passed", ""


if __name__ == "__main__":
    sys.exit(main())
