"""Every family of metrics that our processes declare, and the tables of ``docs/metrics.md`` that are written from it:
``python tests/support/metrics_document.py``. One that is in no ``FAMILIES`` of its module is found by the tests."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import testbed.server
from testbed.api import scrape
from testbed.api.exposition import Family
from testbed.network import gateway_metrics
from testbed.node import metrics as agent
from testbed.node import metrics_containers
from testbed.server.metrics_state import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- written by tests/support/metrics_document.py -->\n", "<!-- to here -->\n"
HEAD = "| name | type | labels | meaning |\n| --- | --- | --- | --- |\n"


def own_families() -> tuple[Family, ...]:
    """Of the control plane, but those of the state: whatever module they are declared in."""
    found: list[Family] = []
    for module in pkgutil.iter_modules(testbed.server.__path__):
        if module.name.startswith("metrics_"):
            found += getattr(importlib.import_module(f"testbed.server.{module.name}"), "FAMILIES", ())
    return tuple(found)


def groups() -> Iterator[tuple[str, str, tuple[Family, ...]]]:
    """Title, source and families."""
    yield "Control plane: the testbed itself", "ours; `kubernetes_build_info` is Kubernetes'", own_families()
    yield "Every process of ours", "ours; the client library of Prometheus adds its `process_*`", scrape.FAMILIES
    yield ("Agents: containers", "cAdvisor, docs/storage/prometheus.md", metrics_containers.FAMILIES)
    yield ("Agents: the node and its probes", "kubelet (`kubelet_*`, `node_*`), cAdvisor (`machine_*`), ours",
           agent.FAMILIES)
    yield ("Gateway", "ours; `kubeproxy_*` is kube-proxy's, `process_*` as everywhere", tuple(
        family for family in gateway_metrics.FAMILIES if family not in scrape.FAMILIES))
    for kind in sorted(KINDS, key=lambda item: item.resource.kind):
        yield f"Control plane: {kind.resource.kind}", "kube-state-metrics", kind.families


def tables() -> str:
    return "\n".join(_table(*group) for group in groups())


def every_family() -> list[Family]:
    return [family for _, _, families in groups() for family in families]


def written(page: str) -> str:
    """The page with its tables as they are to be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def _table(title: str, source: str, families: tuple[Family, ...]) -> str:
    """Labels that all have are said once."""
    common = [label for label in families[0].labels if all(label in family.labels for family in families)]
    told = f" All have {_listed(common)}." if common else ""
    rows = "".join(_row(family, [label for label in family.labels if label not in common]) for family in families)
    return f"### {title}\n\nSource: {source}.{told}\n\n{HEAD}{rows}"


def _row(family: Family, labels: Iterable[str]) -> str:
    cells = (f"`{family.name}`", family.type, _listed(labels), family.text.strip())
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.stdout.write(f"{PAGE.name}: {len(every_family())} families\n")
