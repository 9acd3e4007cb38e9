"""The server's application: routes, page, errors, logs.    READ THIS FIRST

In:   Settings, or what `mspt serve` left of them in the environment.
Out:  create_app() -> FastAPI, for uvicorn and gunicorn.

A request is admitted or told to come back (queue.py), its body is read within limits (upload.py),
and each photo is scored on a thread (photos.py), with --isolate in a process (isolate.py). Photos
stay in memory and go with the answer.
Logs say what was asked and how it went, never what was in a photo or how it is called.
"""

import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import mspt
from mspt.serve.device import PAGE, device_routes
from mspt.serve.docs import docs_page
from mspt.serve.problems import ProblemError
from mspt.serve.routes import health_routes, scoring_routes
from mspt.serve.service import Service
from mspt.serve.settings import Settings

DESCRIPTION = (
    "How good does a face photo look? 0..1, higher is better. Photos are kept in memory and "
    "forgotten with the answer."
)
_log = logging.getLogger("mspt.serve")
LOG_VARIABLE = "MSPT_LOG"  # WARNING leaves out the lines of requests that went well
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "img-src 'self' blob: data:; media-src blob:; frame-ancestors 'none'",
    # The page is alone in its process, so that its network may use several threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
Next = Callable[[Request], Awaitable[Response]]


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the server's application.

    Args:
        settings: default: those that `mspt serve` left in the environment.

    Raises:
        ConfigError, ModelError: as `Scorer`.
    """
    settings = settings or Settings.inherited()
    service = Service(settings)
    _write_log()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="mspt",
        version=mspt.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # ours is below
        redoc_url=None,
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    app.middleware("http")(_watched_by(service))
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_bad_query)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.include_router(scoring_routes(service))
    app.include_router(health_routes(service))
    app.include_router(device_routes(settings))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()))

    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    return app


def _write_log() -> None:
    """Send the log's lines to stderr as they are, whatever server runs the application."""
    if not _log.handlers:
        _log.addHandler(logging.StreamHandler(sys.stderr))
        _log.setLevel(os.environ.get(LOG_VARIABLE, "INFO"))


def _watched_by(service: Service) -> Callable[[Request, Next], Awaitable[Response]]:
    """Return what counts and logs every request, and adds the headers of all answers."""

    async def watch(request: Request, answer: Next) -> Response:
        begun = time.perf_counter()
        service.metrics.in_flight.inc()
        try:
            response = await answer(request)
        except Exception:
            _log.exception("an error of the server's own")
            response = ProblemError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server's own; its log has it"
            ).response()
        finally:
            service.metrics.in_flight.dec()
        seconds = time.perf_counter() - begun
        route = _route_of(request)
        service.metrics.requests.labels(route, str(response.status_code)).inc()
        service.metrics.seconds.labels(route).observe(seconds)
        response.headers.update(_HEADERS)
        # Files of the page are asked for anew and sent if they changed; scores are never kept.
        is_file = "etag" in response.headers
        response.headers["Cache-Control"] = "no-cache" if is_file else "no-store"
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "route": route,
            "status": response.status_code,
            "ms": round(1000 * seconds, 1),
        }
        _log.info(json.dumps(line))
        return response

    return watch


def _route_of(request: Request) -> str:
    """Return the route that answered, of which there are few: never a path as it was typed."""
    return str(getattr(request.scope.get("route"), "path", "") or "/")


async def _answer_problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, ProblemError)
    return problem.response()


async def _answer_bad_query(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{e['loc'][-1]}={e.get('input')!r}: {e['msg']}" for e in error.errors())
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, said).response()


async def _answer_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return ProblemError(
        status, f"{error.detail}; /docs lists what there is", headers=error.headers
    ).response()
