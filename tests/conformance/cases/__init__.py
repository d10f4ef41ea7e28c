"""Kubernetes' own end-to-end cases, one body each, run on the simulated engine in virtual time and on Docker.

All modules of this package are imported here, so that the register is whole.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
