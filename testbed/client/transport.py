"""The HTTP of ``connect()``: requests, imported at the first call; errors of the API as ``ApiError``s.

Calls that only look are repeated when the answer stays away; calls that change something never are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.errors import ApiError, ApiUnavailable, api_error

if TYPE_CHECKING:
    import requests

Json = dict[str, Any]

CONNECT_S = 3.0
ANSWER_S = 30.0
READ_ATTEMPTS = 3


class Transport:
    def __init__(self, url: str, token: str, ca_file: Path) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.ca_file = ca_file
        self._session: requests.Session | None = None

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> requests.Session:
        if self._session is None:
            import requests

            self._session = requests.Session()
            self._session.trust_env = False
            self._session.verify = str(self.ca_file)
            self._session.headers.update({"Authorization": f"Bearer {self.token}", "User-Agent": "testbed-python"})
        return self._session

    def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, *,
        content_type: str = "application/json",
    ) -> Json:
        import requests

        attempts = READ_ATTEMPTS if method == "GET" else 1
        headers = {"Content-Type": content_type} if body is not None else {}
        data = None if body is None else json.dumps(body)
        for attempt in range(1, attempts + 1):
            try:
                answer = self._open().request(method, self.url + path, params=_set(query), data=data, headers=headers,
                                              timeout=(CONNECT_S, ANSWER_S))
                break
            except (requests.RequestException, OSError) as error:
                if attempt == attempts:
                    raise ApiUnavailable(f"the API at {self.url} does not answer: {error}",
                                         hint="is the cluster up? testbed status") from error
                pause(0.1 * attempt)
        if answer.status_code >= 400:
            raise _error(answer.status_code, answer.content)
        value: Json = answer.json()
        return value

    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[bytes]:
        import requests

        try:
            with self._open().get(self.url + path, params=_set(query), stream=True,
                                  timeout=(CONNECT_S, None)) as answer:
                if answer.status_code >= 400:
                    raise _error(answer.status_code, answer.content)
                yield from answer.iter_lines(chunk_size=None)
        except (requests.RequestException, OSError) as error:
            raise ApiUnavailable(f"the API's answer broke off: {error}") from error


def _set(query: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (query or {}).items() if value}


def pause(seconds: float) -> None:
    from time import sleep

    sleep(seconds)


def _error(status: int, content: bytes) -> ApiError:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return api_error(body)
    text = content.decode(errors="replace").strip()[:200] or f"HTTP {status}"
    return ApiUnavailable(text) if status in (502, 503, 504) else ApiError(text, code=status)
