"""The control plane's live feed, read: server-sent events taken apart, and the picture they make.

Parsing and applying are pure; ``LiveFeed`` holds one connection and knows where to go on after it. The picture's parts
are described in ``testbed/server/picture.py``. Source of the form: WHATWG HTML, server-sent events.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from testbed.api.instance import Instance
from testbed.errors import ApiError, ApiUnavailable, api_error

PATH = "/testbed/v1/live"
CONNECT_DEADLINE_S = 3.0
SILENCE_S = 12.0  # the feed says something every 5 s
MAX_MESSAGE_CHARS = 64 * 1024 * 1024

Picture = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """``id``: "" of one without."""

    event: str
    data: str
    id: str = ""


class EventParser:
    """Text in, as it comes; whole messages out. Comments are dropped."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[Message]:
        """Raises: ValueError when a message has no end."""
        *blocks, self._rest = (self._rest + text).split("\n\n")
        if len(self._rest) > MAX_MESSAGE_CHARS:
            raise ValueError("a message without an end")
        return [message for block in blocks if (message := _message(block)) is not None]


def _message(block: str) -> Message | None:
    found: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        found.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in found:
        return None
    return Message(found.get("event", ["message"])[-1], "\n".join(found["data"]), found.get("id", [""])[-1])


def applied(picture: Picture, message: Message) -> Picture:
    """The picture with what a message says. Each changed part is a new map; the given one stays as it was.

    Raises: ValueError for a message that is none of this feed's.
    """
    value = json.loads(message.data)
    if message.event == "reset":
        return dict(value)
    if message.event != "change" or not isinstance(value, Mapping):
        return picture
    part, key, now = value["part"], value["key"], value["value"]
    values = {name: item for name, item in picture.get(part, {}).items() if name != key}  # what is new comes last
    return {**picture, part: values if now is None else {**values, key: now}}


class LiveFeed:
    """``messages`` may be begun again after it broke off: it goes on where it was."""

    def __init__(self, instance: Instance, *, silence_s: float = SILENCE_S) -> None:
        self._instance, self._silence_s = instance, silence_s
        self._last_id = ""

    async def messages(self) -> AsyncIterator[list[Message]]:
        """All that came at once; an empty list now and then when nothing happens.

        Raises: ApiUnavailable when it breaks off; ApiError when it is refused.
        """
        import ssl

        try:
            token = self._instance.token_file.read_text().strip()
            tls = ssl.create_default_context(cafile=str(self._instance.ca_certificate))
        except OSError as error:
            raise ApiUnavailable(f"cluster {self._instance.name!r} has no credentials: {error}") from error
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE_S, sock_read=self._silence_s)
        parser, decoder = EventParser(), codecs.getincrementaldecoder("utf-8")("replace")
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), timeout=timeout) as session, \
                    session.get(f"https://127.0.0.1:{self._instance.api_port}{PATH}", headers=headers) as answer:
                if answer.status >= 400:
                    raise _refused(answer.status, await answer.text())
                async for chunk in answer.content.iter_any():
                    found = parser.feed(decoder.decode(chunk))
                    self._last_id = next((item.id for item in reversed(found) if item.id), self._last_id)
                    yield found
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise ApiUnavailable(f"the control plane does not answer: {error or type(error).__name__}") from error
        raise ApiUnavailable("the control plane has ended the feed")


def _refused(status: int, text: str) -> ApiError:
    try:
        return api_error(json.loads(text))
    except ValueError:
        return ApiError(f"HTTP {status}", code=status)
