"""Locust users beside each other: visitors who wait for their answers, and requests that leave on schedule whatever
happens. The second kind needs the testbed where it runs; it is for load that must not slow down with its target.
"""

from locust import HttpUser, between, task

from testbed.load.locust_user import PulseUser


class Visitor(HttpUser):
    """Reads, thinks, reads on."""

    weight = 3
    wait_time = between(0.2, 1.0)

    @task
    def front_page(self) -> None:
        self.client.get("/")


class Steady(PulseUser):
    """Fifty a second, of all workers together."""

    rate = 50

    def arrival(self) -> None:
        self.client.get("/", name="/ (steady)")
