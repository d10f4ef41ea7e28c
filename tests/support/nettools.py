"""The programs of the tools image (compose/images/nettools), which are no package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "compose" / "images" / "nettools"


def load(name: str) -> Any:
    """The module of that name; behind everything else that can be imported, so that it hides nothing."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)
