"""Docker Swarm as the supervisor, on engines of its own: one in each node's container, joined into one swarm."""
