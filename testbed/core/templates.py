"""Pod templates: when two are the same, and the hash that names a revision.

Templates stay JSON: a view would drop the fields it does not know, and with them the difference between two revisions.
Upstream hashes a dump of Go structs, which nobody outside can repeat; the hash is opaque to clients, only its alphabet
and its stability matter.

Source: kubernetes pkg/controller/controller_utils.go ComputeHash, deployment_util.go EqualIgnoreHash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from testbed.api.labels import POD_TEMPLATE_HASH

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery/pkg/util/rand: no vowels, no 0, 1, 3


def canonical(template: Mapping[str, Any]) -> str:
    """The template without its revision label, in a form that is equal for equal meanings."""
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != POD_TEMPLATE_HASH}
    metadata["labels"] = labels
    return json.dumps(_set_parts({**template, "metadata": metadata}), sort_keys=True, separators=(",", ":"))


def template_hash(template: Mapping[str, Any], collisions: int = 0) -> str:
    """The value of label pod-template-hash. ``collisions``: the Deployment's status.collisionCount."""
    text = canonical(template) + (str(collisions) if collisions else "")
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(_fnv32a(text.encode())))


def _fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def _set_parts(value: Any) -> Any:
    """Without nulls and empty parts: ``{}``, ``[]``, ``null`` and an absent field mean the same in a template,
    except inside lists, where an empty item counts, and for what is chosen by being there (``emptyDir: {}``)."""
    if isinstance(value, Mapping):
        parts = {key: _set_parts(item) for key, item in value.items()}
        return {key: item for key, item in parts.items() if item not in (None, []) and not _vacuous(key, item)}
    if isinstance(value, list | tuple):
        return [_set_parts(item) for item in value]
    return value


def _vacuous(key: str, item: Any) -> bool:
    return item == {} and key in ("labels", "annotations", "metadata", "resources", "securityContext", "nodeSelector")
