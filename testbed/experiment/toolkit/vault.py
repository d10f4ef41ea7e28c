"""Secrets from HashiCorp Vault, through the package ``hvac``, which is the user's to install."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.errors import EnvironmentProblem

_SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def vault_is_possible() -> bool:
    return importlib.util.find_spec("hvac") is not None


def read_secret(declared: Mapping[str, Any], configuration: Mapping[str, Any]) -> Any:
    """The value at ``path``, or of its ``key``.

    Args: configuration: the ``vault_*`` values that Chaos Toolkit documents.

    Raises: EnvironmentProblem when Vault cannot be reached, refuses, or has no such secret.
    """
    path, key = str(declared.get("path")), declared.get("key")
    mount = str(configuration.get("vault_secrets_mount_point", "secret"))
    try:
        store = _client(configuration).secrets.kv
        if str(configuration.get("vault_kv_version", "2")) == "1":
            found = store.v1.read_secret(path=path, mount_point=mount)["data"]
        else:
            found = store.v2.read_secret_version(path=path, mount_point=mount)["data"]["data"]
        return found if key is None else found[key]
    except EnvironmentProblem:
        raise
    except Exception as error:  # hvac's own errors and those of its transport, of any version
        raise EnvironmentProblem(
            f"the secret {path!r} cannot be read from Vault: {type(error).__name__}: {error}",
            hint="see vault_addr and vault_token (or vault_role_id) in the configuration") from error


def _client(configuration: Mapping[str, Any]) -> Any:
    if not vault_is_possible():
        raise EnvironmentProblem("secrets of type vault need the package hvac", hint="pip install hvac")
    client = importlib.import_module("hvac").Client(url=configuration.get("vault_addr"))
    if "vault_token" in configuration:
        client.token = configuration["vault_token"]
    elif "vault_role_id" in configuration:
        answer = client.auth.approle.login(role_id=configuration["vault_role_id"],
                                           secret_id=configuration.get("vault_role_secret"))
        client.token = answer["auth"]["client_token"]
    elif "vault_sa_role" in configuration:
        token = Path(configuration.get("vault_sa_token_path") or _SERVICE_ACCOUNT_TOKEN).read_text()
        client.auth.kubernetes.login(role=configuration["vault_sa_role"], jwt=token,
                                     mount_point=configuration.get("vault_k8s_mount_point", "kubernetes"))
    return client
