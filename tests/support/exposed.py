"""Which metrics our own processes expose: every family that a module of theirs declares."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from testbed import node, server
from testbed.api import scrape
from testbed.api.exposition import HISTOGRAM, Family
from testbed.network import gateway_metrics


@cache
def families() -> frozenset[Family]:
    modules = [scrape, gateway_metrics, *(module for package in (server, node) for module in _modules(package))]
    return frozenset(family for module in modules for family in _declared(module))


def is_exposed(name: str) -> bool:
    """Whether there are samples of that name."""
    return any(name == family.name if family.type != HISTOGRAM else
               name in (f"{family.name}_bucket", f"{family.name}_sum", f"{family.name}_count") for family in families())


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__):
        if found.name.startswith("metrics"):
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def _declared(module: ModuleType) -> Iterator[Family]:
    for value in vars(module).values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Family):
                yield item
