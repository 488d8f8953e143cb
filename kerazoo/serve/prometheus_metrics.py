"""What a server counts and measures, for Prometheus."""

from collections.abc import Callable, Iterable

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServingMetrics:
    """The counters of one server, in a registry of its own.

    Args:
        models: iterable of strings. The names of the models, which are the only values of their label.
    """

    def __init__(self, models: Iterable[str]):
        import prometheus_client as prometheus

        self._latest = prometheus.generate_latest
        self.content_type = prometheus.CONTENT_TYPE_LATEST
        self._registry = registry = prometheus.CollectorRegistry()
        for collector in (prometheus.ProcessCollector, prometheus.PlatformCollector, prometheus.GCCollector):
            collector(registry=registry)
        labels = ["model"]
        self._requests = prometheus.Counter(
            "kerazoo_requests_total", "Requests by model, method and HTTP status.", [*labels, "method", "status"],
            registry=registry,
        )  # fmt: skip
        self._request_seconds = prometheus.Histogram(
            "kerazoo_request_seconds", "Seconds from a request to its response.", labels, buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._batch_seconds = prometheus.Histogram(
            "kerazoo_batch_seconds", "Seconds that a batch takes in the model.", labels, buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._batch_rows = prometheus.Histogram(
            "kerazoo_batch_rows", "Rows of a batch.", labels, buckets=ROWS, registry=registry
        )
        self._waiting_rows = prometheus.Gauge(
            "kerazoo_waiting_rows", "Rows that wait for a batch.", labels, registry=registry
        )
        self._version = prometheus.Gauge(
            "kerazoo_model_version", "Version of a model that serves.", labels, registry=registry
        )
        for model in models:
            self._batch_rows.labels(model)
            self._batch_seconds.labels(model)

    def count_request(self, model: str, method: str, status: int, seconds: float) -> None:
        """Counts a request and its response.

        Args:
            model: string. The name of the model; the empty string for one that the server lacks.
            method: string. What was requested, such as `"predict"`.
            status: int. The HTTP status.
            seconds: float. How long it took.
        """
        self._requests.labels(model, method, status).inc()
        self._request_seconds.labels(model).observe(seconds)

    def batch_counter(self, model: str) -> Callable[[int, float], None]:
        """Returns a function of the rows and the seconds of a batch of a model, which counts it."""
        rows_of, seconds_of = self._batch_rows.labels(model), self._batch_seconds.labels(model)

        def count(rows, seconds):
            rows_of.observe(rows)
            seconds_of.observe(seconds)

        return count

    def set_state(self, model: str, version: int, waiting_rows: int) -> None:
        """Sets which version of a model serves and how many rows wait for it."""
        self._version.labels(model).set(version)
        self._waiting_rows.labels(model).set(waiting_rows)

    def page(self) -> bytes:
        """Returns all of it in the text format of Prometheus."""
        return self._latest(self._registry)
