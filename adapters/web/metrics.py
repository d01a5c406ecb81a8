"""The gateway's figures for Prometheus. Labels are route templates and names of ours, never input."""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from adapters.web.ports import Standing

CONTENT_TYPE = CONTENT_TYPE_LATEST
# When each figure was first counted interests nobody here, and would be a third of all lines.
disable_created_metrics()  # type: ignore[no-untyped-call]
REASONS_MAX = 50
"""Most reasons told apart for one connection; further ones are counted as `other`."""
REASON_LENGTH_MAX = 80
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All figures, in a registry of their own."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._registry = registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "orderspine_http_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "orderspine_http_request_seconds",
            "Time from a request's headers to its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "orderspine_pushes_refused",
            "Pushes that were not the platform's, too old or altered.",
            ("connection", "reason"),
            registry=registry,
        )
        self._unauthorised = Counter(
            "orderspine_api_refused", "Requests without a good token, or without the right.", ("reason",),
            registry=registry,
        )  # fmt: skip
        self._replayed = Counter(
            "orderspine_pushes_replayed",
            "Genuine pushes that had been taken in before and were only answered.",
            ("connection",),
            registry=registry,
        )
        self._taken = Counter(
            "orderspine_taken_in",
            "Parts (orders, mostly) of what was handed in, by outcome.",
            ("channel", "pipe", "outcome"),
            registry=registry,
        )
        self._under_way = Gauge(
            "orderspine_http_requests_under_way", "Requests being served, probes apart.", registry=registry
        )
        self._body_bytes = Gauge("orderspine_http_body_bytes", "Bytes of bodies held in memory.", registry=registry)
        self._gauges = {
            "mail_backlog": Gauge("orderspine_mail_backlog", "Mail that waits for the worker.", registry=registry),
            "mail_free_bytes": Gauge("orderspine_mail_free_bytes", "Room left in the mail stream.", registry=registry),
            "log_head": Gauge("orderspine_log_head", "Position of the last event in the log.", registry=registry),
            "projection_lag": Gauge(
                "orderspine_projection_lag_events", "Events the read models are behind the log.", registry=registry
            ),
            "differing_orders": Gauge(
                "orderspine_differing_orders",
                "Orders whose views differ, as the last self-check found; it is to be 0.",
                registry=registry,
            ),
            "sealer_refusing": Gauge(
                "orderspine_sealer_refusing", "1 while the sealer does not sign the log.", registry=registry
            ),
            "unsealed": Gauge(
                "orderspine_unsealed_events", "Events behind the newest signed checkpoint.", registry=registry
            ),
            "witness_troubled": Gauge(
                "orderspine_witness_troubled", "1 while the outside witness is away or differs.", registry=registry
            ),
            "disk_free_bytes": Gauge(
                "orderspine_disk_free_bytes", "Free space where the data directory is.", registry=registry
            ),
            "broker": Gauge("orderspine_broker_up", "1 while broker and mail answer.", registry=registry),
            "worker": Gauge("orderspine_worker_up", "1 while a worker holds the cell.", registry=registry),
            "failing_parts": Gauge(
                "orderspine_failing_parts",
                "Parts that die again and again; `orderspine status` says which, and why.",
                registry=registry,
            ),
            "worker_lag_s": Gauge(
                "orderspine_worker_lag_seconds",
                "For how long mail has waited without any being handled.",
                registry=registry,
            ),
        }
        self._taking = Gauge("orderspine_taking_in", "1 while orders are taken in, 0 while busy.", registry=registry)
        self._reasons: dict[str, set[str]] = {}
        self._request_of = lru_cache(4096)(self._requests.labels)
        self._seconds_of = lru_cache(256)(self._seconds.labels)
        self._taken_of = lru_cache(4096)(self._taken.labels)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._request_of(route, method if method in METHODS else "other", str(status)).inc()
        self._seconds_of(route).observe(seconds)

    def refused_push(self, connection: str, reason: str) -> None:
        """Count a push that was not genuine: all the trace it leaves."""
        reason = reason[:REASON_LENGTH_MAX]
        known = self._reasons.setdefault(connection, set())
        if reason not in known:
            if len(known) >= REASONS_MAX:
                reason = "other"
            known.add(reason)
        self._refused.labels(connection, reason).inc()

    def refused_api(self, reason: str) -> None:
        """Count a request that had no right to be made: all the trace it leaves."""
        self._unauthorised.labels(reason).inc()

    def replayed(self, connection: str) -> None:
        """Count a push that had been answered before."""
        self._replayed.labels(connection).inc()

    def taken(self, channel: str, pipe: str, outcome: str) -> None:
        """Count one part of what was handed in."""
        self._taken_of(channel, pipe, outcome).inc()

    def load(self, under_way: int, body_bytes: int) -> None:
        """Note how busy the gateway is now."""
        self._under_way.set(under_way)
        self._body_bytes.set(body_bytes)

    def render(self, standing: Standing) -> bytes:
        """Return everything in Prometheus's text form. What cannot be told is NaN."""
        for name, gauge in self._gauges.items():
            value = getattr(standing, name)
            gauge.set(float("nan") if value is None else float(value))
        self._taking.set(0.0 if standing.refusal else 1.0)
        return generate_latest(self._registry)
