"""The docker SDK's low-level client, with the few calls that we make and their types.

The one file that touches the SDK's session: it decides how a request is sent (paths are quoted, bodies are JSON,
every wait has the client's ``timeout_s``) and gives decoded JSON or an open stream. One client serves one thread.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from docker import errors as docker_errors
from docker import utils as docker_utils
from docker.api import APIClient

APIError = docker_errors.APIError
NotFound = docker_errors.NotFound
DockerException = docker_errors.DockerException


class DockerClient:
    """``version``: of the API to speak; empty asks the engine for its own."""

    def __init__(self, url: str, version: str, timeout_s: float) -> None:
        settings: dict[str, Any] = {"base_url": url} if url else dict(docker_utils.kwargs_from_env())
        self._sdk: Any = APIClient(version=version or "auto", timeout=timeout_s, **settings)  # type: ignore[arg-type]
        self.timeout_s = timeout_s

    @property
    def api_version(self) -> str:
        return str(self._sdk._version)

    def get(self, path: str, *parts: str, params: dict[str, Any] | None = None) -> Any:
        """The decoded answer. ``path`` has ``{0}`` where ``parts`` go. Raises: APIError, requests' errors."""
        return self._sdk._result(self._send("GET", path, parts, params=params), json=True)

    def post(
        self, path: str, *parts: str, params: dict[str, Any] | None = None, body: dict[str, Any] | None = None
    ) -> Any:
        """The decoded answer, None when it has no body."""
        response = self._send("POST", path, parts, params=params, body=body)
        self._sdk._raise_for_status(response)
        return response.json() if response.content else None

    def delete(self, path: str, *parts: str, params: dict[str, Any] | None = None) -> None:
        self._sdk._raise_for_status(self._send("DELETE", path, parts, params=params))

    def date(self) -> str:
        """The engine's own clock, as HTTP says it."""
        return str(self._send("GET", "/_ping", ()).headers["Date"])

    def open(self, path: str, *parts: str, params: dict[str, Any], idle_s: float | None) -> Any:
        """A streamed answer (requests' Response). ``idle_s``: silence that ends it, None for never."""
        response = self._sdk._get(
            self._sdk._url(path, *parts), params=params, stream=True, timeout=(self.timeout_s, idle_s)
        )
        self._sdk._raise_for_status(response)
        return response

    def upgrade(self, path: str, *parts: str, body: dict[str, Any]) -> tuple[socket.socket, bytes]:
        """Turns the connection into a raw one: its socket (the caller's to close) and what was read ahead."""
        response = self._sdk._post(
            self._sdk._url(path, *parts), stream=True, data=json.dumps(body), timeout=self.timeout_s,
            headers={"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"},
        )
        self._sdk._raise_for_status(response)
        upgraded = self.socket_of(response)
        upgraded.setblocking(False)  # or else peek would wait for more
        ahead = bytes(response.raw._fp.fp.peek())
        return socket.socket(fileno=os.dup(upgraded.fileno())), ahead

    def socket_of(self, response: Any) -> socket.socket:
        found: Any = self._sdk._get_raw_response_socket(response)
        return getattr(found, "_sock", found)  # type: ignore[no-any-return]

    def pull(self, name: str, tag: str) -> None:
        for _ in self._sdk.pull(name, tag=tag, stream=True, decode=True):
            continue

    def load(self, archive: Iterator[bytes]) -> None:
        """What ``docker save`` wrote. Raises: APIError, DockerException when the engine does not take it."""
        for message in self._sdk.load_image(archive, quiet=True):
            if "error" in message:
                raise DockerException(str(message["error"]))

    def close(self) -> None:
        self._sdk.close()

    def _send(
        self, method: str, path: str, parts: tuple[str, ...], *, params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Any:
        return self._sdk.request(
            method, self._sdk._url(path, *parts), params=params, json=body, timeout=self.timeout_s
        )


def split_reference(reference: str) -> tuple[str, str]:
    """``name:tag`` as name and tag (``latest`` where none is written)."""
    name, tag = docker_utils.parse_repository_tag(reference)
    return str(name), str(tag or "latest")
