"""The loops that run core's decisions over the API: controllers and scheduler."""
