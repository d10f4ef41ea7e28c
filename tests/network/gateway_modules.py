"""The modules of the gateway's image, which is no package of ours; they import each other by their bare names."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from testbed import resources


def _load(name: str) -> ModuleType:
    file = resources.image_context("gateway") / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module


RULES, DNS, COUNTS, INGRESS_CONFIG, INGRESS, GATEWAY = (
    _load(name) for name in ("rules", "dns", "counts", "ingress_config", "ingress", "gateway"))
SETTINGS = RULES.Settings({
    "SUBNET": "10.9.0.0/16", "SERVICE_RANGE": "10.9.128.0/17", "HOST_ADDRESS": "10.9.0.1",
    "GATEWAY_ADDRESS": "10.9.0.2", "DNS_ADDRESS": "10.9.128.10"})
