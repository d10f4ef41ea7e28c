"""Services and cluster DNS: what the gateway is to do, and telling it."""
