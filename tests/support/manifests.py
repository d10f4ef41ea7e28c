"""Manifests that end-to-end tests share."""

from __future__ import annotations


def web(
    name: str, *, replicas: int = 2, image: str = "sample:v1", drain_s: float = 1, liveness_failures: int = 2,
    readiness_failures: int = 3,
) -> str:
    """A Deployment of the sample with all three probe kinds at a period of one second, and its Service."""
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: {image}
          env: [{{name: DRAIN_S, value: "{drain_s}"}}]
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe:
            httpGet: {{path: /readyz, port: http}}
            periodSeconds: 1
            failureThreshold: {readiness_failures}
          livenessProbe:
            httpGet: {{path: /healthz, port: http}}
            periodSeconds: 1
            failureThreshold: {liveness_failures}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: http}}]
"""


def pod_chaos(name: str, action: str, app: str, *, container: str = "web") -> str:
    return f"""
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata: {{name: {name}}}
spec:
  action: {action}
  mode: one
  containerNames: [{container}]
  selector: {{namespaces: [default], labelSelectors: {{app: {app}}}}}
"""


def own_chaos(kind: str, name: str, app: str, *, action: str = "", duration: str = "10s") -> str:
    """FreezeChaos or NodeChaos on one pod (or its node)."""
    act = f"\n  action: {action}" if action else ""
    return f"""
apiVersion: testbed.io/v1alpha1
kind: {kind}
metadata: {{name: {name}}}
spec:{act}
  mode: one
  duration: {duration}
  selector: {{namespaces: [default], labelSelectors: {{app: {app}}}}}
"""
