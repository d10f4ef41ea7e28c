"""What a person calls a fault: ``node-kill``, ``network-delay``, ``freeze``. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from faults.protocol import Fault

_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def short_name(fault: Fault) -> str:
    """Kind and action in one word. An action that tells its object already needs no kind: ``container-kill``."""
    word = "-".join(_HUMPS.split(fault.kind.kind.removesuffix("Chaos"))).lower()
    if not fault.action:
        return word
    return fault.action if fault.action.startswith(("pod-", "container-")) else f"{word}-{fault.action}"


def named(faults: Iterable[Fault], word: str) -> Fault | None:
    """By its short name, or as ``NodeChaos/kill``."""
    wanted = word.lower()
    return next((fault for fault in faults if wanted in (short_name(fault), fault.name.lower(),
                                                          fault.name.lower().rstrip("/"))), None)


def nearest(faults: Iterable[Fault], word: str) -> str:
    """The short name that was meant, or nothing."""
    return next(iter(difflib.get_close_matches(word.lower(), [short_name(fault) for fault in faults], n=1)), "")
