"""The Kubernetes REST API (a subset): ``Registry`` is all its meaning without HTTP, ``http`` its HTTP face."""
