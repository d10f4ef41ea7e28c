"""selfheal-testbed: a small Kubernetes-speaking cluster of real containers, made to be broken and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from testbed.client.sync import connect as connect


def __getattr__(name: str) -> Any:
    """``testbed.connect()``, imported only when asked for."""
    if name == "connect":
        from testbed.client.sync import connect

        return connect
    raise AttributeError(f"module 'testbed' has no attribute {name!r}")
