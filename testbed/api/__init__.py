"""Typed views of API objects, one file per API group, with Kubernetes' own field names."""
