"""Counters for Prometheus, in a registry of their own.

With $PROMETHEUS_MULTIPROC_DIR set, as several worker processes need it, the figures of all of them
are added up.
"""

import os
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from mspt.errors import ConfigError

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What is counted."""

    def __init__(self) -> None:
        """Begin at nothing.

        Raises:
            ConfigError: if there is no folder to share figures in, though one is named.
        """
        shared = os.environ.get(_SHARED)
        if shared and not Path(shared).is_dir():
            raise ConfigError(f"${_SHARED}: {shared} is no folder; make it, and leave it empty")
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "mspt_requests",
            "Answers by route and status",
            ("route", "status"),
            registry=self._registry,
        )
        self.photos = Counter("mspt_photos", "Rows by status", ("status",), registry=self._registry)
        self.seconds = Histogram(
            "mspt_request_seconds",
            "From the request to the answer",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "mspt_requests_in_flight",
            "Requests running or waiting",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        registry = self._registry
        if folder := os.environ.get(_SHARED):
            _forget_dead(Path(folder))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _forget_dead(folder: Path) -> None:
    """Drop what killed processes had in flight; what they counted stays."""
    for file in folder.glob("gauge_live*.db") if os.name == "posix" else ():
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)  # asks whether it lives
        except ProcessLookupError:
            with suppress(OSError):  # another process has dropped it
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue  # somebody else's, and alive
