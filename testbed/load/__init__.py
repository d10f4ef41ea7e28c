"""Load: the open-loop prober (``pulse``) that measures, and Locust that gives realistic traffic.

Both run in processes of their own; here are what they write, how it is read, and what it says.
"""
