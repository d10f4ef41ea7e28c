"""What a Secret of a known type must hold. Values are never shown.

Source: kubernetes pkg/apis/core/validation/validation.go (ValidateSecret).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from testbed.server.causes import Causes

Json = dict[str, Any]

_ACCOUNT = "kubernetes.io/service-account.name"
_NEEDED: dict[str, tuple[str, ...]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockercfg": (".dockercfg",), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}
_JSON = frozenset({".dockercfg", ".dockerconfigjson"})


def check_secret_type(obj: Json, causes: Causes) -> None:
    kind, data = obj.get("type", ""), obj.get("data") or {}
    if kind == "kubernetes.io/service-account-token":
        if not ((obj.get("metadata") or {}).get("annotations") or {}).get(_ACCOUNT):
            causes.required(f"metadata.annotations[{_ACCOUNT}]")
    elif kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        causes.required("data[username]")
        causes.required("data[password]")
    for key in _NEEDED.get(kind, ()):
        if key not in data or (key == "ssh-privatekey" and not data[key]):
            causes.required(f"data[{key}]")
        elif key in _JSON and not _is_json(data[key]):
            causes.invalid(f"data[{key}]", "<secret contents redacted>", "must be JSON")


def _is_json(text: str) -> bool:
    try:
        json.loads(base64.b64decode(text, validate=True))
    except (ValueError, RecursionError):
        return False
    return True
