"""Takes secrets out of what leaves this machine: manifests, logs, results. Pure.

Three nets, one behind the other: values of Secrets and of settings whose name says that they are secret are replaced in
manifests; the same values are then replaced wherever else they stand, as they are and in base64; and what looks like a
secret by its form (a bearer token, ``password=...``, a private key) is replaced in every text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

GONE: Final = "REDACTED"
SHORTEST: Final = 4  # a shorter value would be found everywhere; its own place is redacted all the same
_NAME = re.compile(r"(?i)(pass(word|wd|phrase)?|secret|token|credential|api[-_.]?key|private[-_.]?key|access[-_.]?key"
                   r"|auth|dsn|cookie)(?!count)")
_NOT_SECRET = re.compile(r"(?i)(author|token(s|_?(count|limit|bucket|ttl))$|secretName$|automountServiceAccountToken$)")
_ORIGIN: Final = ("type", "key", "path")
_FORMS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), GONE),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=_.~-]{8,}"), rf"\1 {GONE}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"), GONE),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]+):[^\s/@]+@"), rf"\1:{GONE}@"),
    (re.compile(r"(?i)([\w.-]*(?:password|passwd|passphrase|secret|token|api[-_]?key|credential)s?[\"']?\s*[:=]\s*)"
                r"(?:\"[^\"\n]+\"|'[^'\n]+'|[^\s\"',;}\]]+)"), rf"\1{GONE}"),
)


def names_a_secret(name: str) -> bool:
    """``DB_PASSWORD`` and ``apiKey`` do, ``AUTHOR`` does not."""
    return bool(_NAME.search(name)) and not _NOT_SECRET.search(name)


def redact_manifest(value: Any) -> Any:
    """The same manifest without the values of Secrets and of settings that are secret by their name."""
    return _redacted(value, set())


def secrets_of(manifests: Iterable[Any]) -> frozenset[str]:
    """Values that `redact_manifest` takes out, as they are and as base64 says them."""
    found: set[str] = set()
    for manifest in manifests:
        _redacted(manifest, found)
    return frozenset(text for value in found for text in _spellings(value) if len(text) >= SHORTEST)


def _redacted(value: Any, found: set[str]) -> Any:
    if isinstance(value, list):
        return [_redacted(item, found) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("kind") == "Secret":
        return {key: _all_gone(item, found) if key in ("data", "stringData") else
                _without_copies(item) if key == "metadata" else item for key, item in value.items()}
    changed = {key: _declared(item, found) if key == "secrets" and isinstance(item, Mapping) else
               _redacted(item, found) for key, item in value.items()}
    if "metadata" in changed:
        changed["metadata"] = _without_copies(changed["metadata"])
    name = changed.get("name")
    if isinstance(name, str) and names_a_secret(name) and isinstance(changed.get("value"), str | int | float):
        found.add(str(changed["value"]))
        changed["value"] = GONE
    for key, item in changed.items():
        if isinstance(item, str) and key not in ("name", "kind", "key") and names_a_secret(str(key)) and item:
            found.add(item)
            changed[key] = GONE
    return changed


def _declared(value: Any, found: set[str]) -> Any:
    """Secrets of a Chaos Toolkit experiment, whatever they are called: where they come from is kept, not what they are.
    (As a list, ``secrets`` names groups of them, or is Kubernetes's.)"""
    if not isinstance(value, Mapping):
        return _all_gone(value, found)
    origin = _ORIGIN if value.get("type") in ("env", "vault") else ()
    return {key: item if key in origin else _declared(item, found) for key, item in value.items()}


def _all_gone(value: Any, found: set[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _all_gone(item, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_all_gone(item, found) for item in value]
    if value not in (None, "") and not isinstance(value, bool):  # true and false stand everywhere
        found.add(str(value))
    return GONE


def _without_copies(metadata: Any) -> Any:
    """kubectl keeps the whole object once more in an annotation."""
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("annotations"), Mapping):
        return metadata
    kept = {key: item for key, item in metadata["annotations"].items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"}
    return {**metadata, "annotations": kept}


def _spellings(value: str) -> tuple[str, ...]:
    plain = [value, base64.b64encode(value.encode()).decode()]
    try:
        plain.append(base64.b64decode(value, validate=True).decode())
    except (binascii.Error, ValueError):
        pass
    return tuple(text.strip() for text in plain)


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Any text without these values, and without what looks like a secret by its form."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, GONE)
    for pattern, instead in _FORMS:
        text = pattern.sub(instead, text)
    return text
