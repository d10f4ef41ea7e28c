"""The http provider: one request. An answer of any status is an answer; none at all is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.experiment.toolkit.failures import ActivityFailed


def send(provider: Mapping[str, Any]) -> dict[str, Any]:
    """``status``, ``headers`` and ``body`` of the answer; ``provider`` has no ``${name}`` left. Blocks.

    The body is a value where it is said to be JSON, a text otherwise.

    Raises: ActivityFailed when there is no answer.
    """
    import requests
    from requests.adapters import HTTPAdapter

    method = str(provider.get("method") or "GET").upper()
    headers = {str(key): str(value) for key, value in (provider.get("headers") or {}).items()}
    arguments = provider.get("arguments")
    content: dict[str, Any] = {}
    if method == "GET":
        content["params"] = arguments
    elif headers.get("Content-Type") == "application/json":
        content["json"] = arguments
    else:
        content["data"] = arguments
    timeout = provider.get("timeout")
    url = str(provider["url"])
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=int(provider.get("max_retries") or 0)))
            answer = session.request(
                method, url, headers=headers, verify=provider.get("verify_tls", True), **content,
                timeout=tuple(timeout) if isinstance(timeout, list) else timeout)
            return {"status": answer.status_code, "headers": dict(answer.headers), "body": _body(answer)}
    except requests.Timeout:
        raise ActivityFailed(f"no answer from {url} within {timeout} s") from None
    except (requests.RequestException, ValueError) as error:
        raise ActivityFailed(f"{url}: {error}") from error


def _body(answer: Any) -> Any:
    if answer.headers.get("Content-Type") == "application/json":
        try:
            return answer.json()
        except ValueError:
            return answer.text
    return answer.text
