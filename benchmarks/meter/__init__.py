"""Whether a comparison can be trusted: the same against itself, and a slowdown that was planted."""
