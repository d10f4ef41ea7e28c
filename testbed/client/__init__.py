"""Ways to reach a Kubernetes API: one protocol, an asyncio face, a requests face, an in-process twin."""
