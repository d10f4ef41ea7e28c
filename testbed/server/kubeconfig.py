"""The kubeconfig of one cluster, in its own state directory. ``~/.kube/config`` is never touched."""

from __future__ import annotations

import base64
import json

from testbed.api.instance import Instance
from testbed.server.certificates import write_private


def write_kubeconfig(instance: Instance) -> None:
    """Writes it whole, 0600 (it holds the token). The credentials must exist. JSON is YAML."""
    name = f"testbed-{instance.name}"
    authority = base64.b64encode(instance.ca_certificate.read_bytes()).decode()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": name, "preferences": {},
        "clusters": [{"name": name, "cluster": {
            "server": f"https://127.0.0.1:{instance.api_port}", "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": {"token": instance.token_file.read_text().strip()}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
    }
    write_private(instance.kubeconfig, json.dumps(config, indent=2).encode() + b"\n")
