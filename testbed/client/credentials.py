"""Who we are at an API, from what a kubeconfig says: a bearer token and the TLS context of each connection.

Tokens in files and from exec plugins change while a run goes on: they are read again when they are old or were refused.
Source: kubernetes client-go plugin/pkg/client/auth/exec/exec.go, transport/token_source.go.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from testbed.client.kubeconfig import Access, Plugin
from testbed.errors import EnvironmentProblem, InvalidInput

PLUGIN_S = 60.0
TOKEN_FILE_S = 60.0  # client-go's period for tokens in files
_EARLY_S = 30.0  # a token is renewed that much before it ends


@dataclass(frozen=True)
class Credential:
    """``ends_at``: of the loop's clock; None: when it is refused."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    ends_at: float | None = None


class Credentials:
    """``now``: wall clock, for the time at which a plugin says that its token ends."""

    def __init__(self, access: Access, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._access, self._now = access, now
        self._held: Credential | None = None
        self._one_at_a_time = asyncio.Lock()

    async def current(self) -> Credential:
        """Raises: EnvironmentProblem: a file or a plugin that does not give one."""
        async with self._one_at_a_time:
            loop = asyncio.get_running_loop()
            held = self._held
            if held is None or (held.ends_at is not None and loop.time() >= held.ends_at):
                held = self._held = await self._fresh(loop.time())
            return held

    @property
    def by_plugin_certificate(self) -> bool:
        """Whether connections themselves stand for who we are, and that may change."""
        return self._access.plugin is not None and self._held is not None and bool(self._held.certificate)

    def refused(self) -> bool:
        """The API said 401. Returns: whether another try may succeed with what is read then."""
        self._held = None
        return self._access.plugin is not None or self._access.token_file is not None

    async def tls(self) -> ssl.SSLContext | bool:
        """The context of connections; certificates of ours never lie in a file of ours.

        Raises: InvalidInput for what is no certificate.
        """
        if self._access.server.startswith("http://"):
            return True
        credential = await self.current()
        try:
            context = ssl.create_default_context(cadata=self._access.ca.decode("ascii") if self._access.ca else None)
            if self._access.insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if credential.certificate:
                _load_pair(context, credential)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput(f"a certificate of context {self._access.context!r} of the kubeconfig is none: "
                               f"{error}") from error
        return context

    async def _fresh(self, now_s: float) -> Credential:
        access = self._access
        token, ends_at = access.token, None
        if access.token_file is not None:
            try:
                token, ends_at = access.token_file.read_text(encoding="utf-8").strip(), now_s + TOKEN_FILE_S
            except (OSError, UnicodeDecodeError) as error:
                raise EnvironmentProblem(f"the token file {access.token_file} cannot be read: {error}") from error
        if access.plugin is not None:
            return await self._from_plugin(access.plugin, now_s)
        return Credential(token, access.certificate, access.key, ends_at)

    async def _from_plugin(self, plugin: Plugin, now_s: float) -> Credential:
        status = await run_plugin(plugin)
        ends_at = None
        if end := status.get("expirationTimestamp"):
            try:
                left_s = (datetime.fromisoformat(str(end).replace("Z", "+00:00")) - self._now()).total_seconds()
            except (ValueError, TypeError) as error:
                raise EnvironmentProblem(f"{plugin.argv[0]} gave an expirationTimestamp that is none: {end!r}") \
                    from error
            ends_at = now_s + max(1.0, left_s - _EARLY_S)
        certificate, key = (str(status.get(name) or "").encode() for name in ("clientCertificateData", "clientKeyData"))
        return Credential(str(status.get("token") or ""), certificate or self._access.certificate,
                          key or self._access.key, ends_at)


def _load_pair(context: ssl.SSLContext, credential: Credential) -> None:
    """``ssl`` reads certificates from files only: here from memory that has a name while it is open."""
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, credential.certificate.rstrip() + b"\n" + credential.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


async def run_plugin(plugin: Plugin) -> dict[str, Any]:
    """The ``status`` of the ExecCredential that a plugin prints. Raises: EnvironmentProblem in its own words."""
    hint = plugin.install_hint or "run it by hand to see what it says"
    spec: dict[str, Any] = {"interactive": False}
    if plugin.cluster_info is not None:
        spec["cluster"] = plugin.cluster_info
    asked = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **dict(plugin.environment), "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    try:
        process = await asyncio.create_subprocess_exec(
            *plugin.argv, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE)
    except OSError as error:
        raise EnvironmentProblem(f"the credential plugin {plugin.argv[0]} of the kubeconfig cannot be run: "
                                 f"{error.strerror}", hint=hint) from error
    try:
        out, complaint = await asyncio.wait_for(process.communicate(), PLUGIN_S)
    except TimeoutError:
        raise EnvironmentProblem(f"the credential plugin {plugin.argv[0]} gave no answer within {PLUGIN_S:g} s",
                                 hint=hint) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        words = complaint.decode("utf-8", "replace").strip()[-400:] or "it said nothing"
        raise EnvironmentProblem(f"the credential plugin {plugin.argv[0]} ended with {process.returncode}: {words}",
                                 hint=hint)
    return _status_of(plugin, out)


def _status_of(plugin: Plugin, out: bytes) -> dict[str, Any]:
    try:
        value = json.loads(out)
        status = value["status"]
    except (ValueError, LookupError, TypeError):
        value, status = {}, None
    if not isinstance(status, dict) or value.get("apiVersion") != plugin.api_version:
        raise EnvironmentProblem(f"the credential plugin {plugin.argv[0]} printed no ExecCredential of "
                                 f"{plugin.api_version}")
    if not status.get("token") and not (status.get("clientCertificateData") and status.get("clientKeyData")):
        raise EnvironmentProblem(f"the credential plugin {plugin.argv[0]} gave neither a token nor a certificate")
    return status
