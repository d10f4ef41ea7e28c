"""Visitors of the sample application: most look at the front page again and again, a few wait longer.

An ordinary locustfile: it runs here as part of an experiment, and anywhere else with
`locust -f locustfile.py --host URL`.
"""

from locust import HttpUser, between, task


class Visitor(HttpUser):
    """Reads the front page, thinks for a moment, reads on."""

    weight = 4
    wait_time = between(0.2, 1.0)

    @task(10)
    def front_page(self) -> None:
        with self.client.get("/", catch_response=True) as answer:
            if answer.status_code == 200 and "pod" not in answer.text:
                answer.failure("the answer does not say which pod gave it")

    @task(1)
    def search(self) -> None:
        self.client.get("/", params={"q": "shoes"}, name="/?q=[words]")


class Reader(HttpUser):
    """Comes seldom and stays."""

    weight = 1
    wait_time = between(2, 5)

    @task
    def front_page(self) -> None:
        self.client.get("/")
