"""The engine through the SDK, for what is done before a cluster exists: a client, and its errors as ours.

It blocks: what a cluster asks of its engine goes through ``docker_client``, in threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from testbed.errors import EngineError, EngineUnavailable, NoSuchImage


def sdk_client(url: str, *, timeout_s: int) -> Any:
    """A low-level client of the SDK. ``url``: "" is the environment's engine. To be used inside ``translated``."""
    from docker import APIClient
    from docker.utils import kwargs_from_env

    where: Any = {"base_url": url} if url else kwargs_from_env()
    return APIClient(version="auto", timeout=timeout_s, **where)


@contextmanager
def translated() -> Iterator[None]:
    """The SDK's errors as ours."""
    import requests
    from docker.errors import APIError, DockerException, ImageNotFound

    try:
        yield
    except ImageNotFound as error:
        raise NoSuchImage(str(error.explanation or error)) from error
    except APIError as error:
        raise EngineError(f"the container engine refused: {error.explanation or error}") from error
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        if isinstance(error, PermissionError) or "Permission denied" in str(error):
            raise EngineUnavailable("the container engine's socket may not be opened",
                                    hint="join its group and log in again: sudo usermod -aG docker $USER") from error
        asked = os.environ.get("DOCKER_HOST")
        raise EngineUnavailable("no container engine answers", hint=f"DOCKER_HOST is {asked}: start that engine, or "
                                "unset DOCKER_HOST" if asked else "run: testbed setup") from error
