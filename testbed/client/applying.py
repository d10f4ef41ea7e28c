"""What ``apply`` sends: the difference between what was applied last, what is wanted now, and what is there. Pure.

As kubectl does for kinds without a compiled-in schema: a three-way JSON merge patch, with the last applied manifest
kept in the annotation ``kubectl.kubernetes.io/last-applied-configuration``. Source: kubernetes apimachinery
pkg/util/jsonmergepatch/patch.go.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from testbed.api.labels import LAST_APPLIED

Json = dict[str, Any]


def with_last_applied(obj: Json) -> Json:
    """A copy of a manifest that carries itself in its annotation."""
    result = copy.deepcopy(obj)
    annotations = result.setdefault("metadata", {}).get("annotations") or {}
    result["metadata"]["annotations"] = {key: item for key, item in annotations.items() if key != LAST_APPLIED}
    text = json.dumps(result, separators=(",", ":"), sort_keys=True) + "\n"
    result["metadata"]["annotations"][LAST_APPLIED] = text
    return result


def three_way_patch(current: Json, wanted: Json) -> Json:
    """The merge patch that makes ``current`` what ``wanted`` (from ``with_last_applied``) says; {} when nothing
    differs."""
    text = (current.get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        last = json.loads(text)
    except ValueError:
        last = {}
    return _difference(last if isinstance(last, dict) else {}, wanted, current)


def _difference(last: Json, wanted: Json, current: Json) -> Json:
    patch: Json = {}
    for key, value in wanted.items():
        have, before = current.get(key), last.get(key)
        if isinstance(value, dict) and isinstance(have, dict):
            inner = _difference(before if isinstance(before, dict) else {}, value, have)
            if inner:
                patch[key] = inner
        elif value != have and not (value == before and _says_the_same(value, have)):
            patch[key] = value
    for key in last:
        if key not in wanted and key in current:
            patch[key] = None
    return patch


def _says_the_same(wanted: Any, have: Any) -> bool:
    """Whether ``have`` is ``wanted`` with more keys inside list items: the server's defaults, where ``wanted`` is what
    was applied last. (A key that the last manifest had and this one has not is no default: it must go.)"""
    if isinstance(wanted, list) and isinstance(have, list):
        return len(wanted) == len(have) and all(_says_the_same(*pair) for pair in zip(wanted, have, strict=True))
    if isinstance(wanted, dict) and isinstance(have, dict):
        return all(key in have and _says_the_same(item, have[key]) for key, item in wanted.items())
    return bool(wanted == have)
