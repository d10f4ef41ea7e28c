"""Other orchestrators with the face of a cluster: one driver each, that does what the API wants in the orchestrator's
own terms and tells the API what the orchestrator made of it. See docs/platforms.md."""
