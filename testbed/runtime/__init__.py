"""What is asked of a container engine and of the host, real and simulated."""
