"""Fault injectors, one small file per fault, and the chaos daemon that runs them. The healer never imports this."""
