"""Plain Docker as the supervisor: what ``docker compose up`` makes of a manifest, and Docker's own restart policies and
health checks after that."""
