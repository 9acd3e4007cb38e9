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
import mimetypes
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import mspt
from mspt.errors import ConfigError
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
_GONE = 499  # nginx's number for a client that did not wait; nobody is told
_KINDS = {"text/javascript": ".js", "text/css": ".css", "application/wasm": ".wasm"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "img-src 'self' blob: data:; media-src blob:; frame-ancestors 'none'",
    # The page is alone in its process, so that its network may use several threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


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
    app.add_middleware(_Watch, service=service)
    if settings.cors_origins:  # around all else, so that pages from there can read what went wrong
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_bad_query)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.include_router(scoring_routes(service))
    app.include_router(health_routes(service))
    app.include_router(device_routes(settings))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()))

    for kind, suffix in _KINDS.items():  # else Windows' registry is asked, which may not know
        mimetypes.add_type(kind, suffix)
    app.router.default = _page_behind(app.router.default)
    return app


def _page_behind(nothing: ASGIApp) -> ASGIApp:
    """Return what answers where no route does: the page's files.

    Mounted, they would match every path, and a wrong method of a route would be a missing file.
    """
    files = StaticFiles(directory=PAGE, html=True)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await (files if scope["type"] == "http" else nothing)(scope, receive, send)

    return answer


def _write_log() -> None:
    """Send the log's lines to stderr as they are, whatever server runs the application."""
    if not _log.handlers:
        _log.addHandler(logging.StreamHandler(sys.stderr))
        level = os.environ.get(LOG_VARIABLE, "INFO").upper()
        if level not in logging.getLevelNamesMapping():
            known = ", ".join(logging.getLevelNamesMapping())
            raise ConfigError(f"{LOG_VARIABLE} {level} is no level; take one of {known}")
        _log.setLevel(level)
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # the answer says it


class _Watch:
    """Counts and logs every request, and adds the headers of all answers.

    Plain ASGI: Starlette's middleware for functions hands every message on by tasks of its own.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._metrics = app, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status: int | None = None
        is_head = scope["method"] == "HEAD"
        if is_head:  # as probes ask: what GET would say, without a body
            scope = {**scope, "method": "GET"}

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(MutableHeaders(scope=message))
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_on)
            except ClientDisconnect:
                status = _GONE
            except Exception:
                _log.exception("an error of the server's own")
                if status is not None:
                    raise  # an answer cut short must look like one
                problem = ProblemError(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server's own; its log has it"
                )
                await problem.response()(scope, receive, send_on)
            finally:
                self._note(_route_of(scope), status, time.perf_counter() - begun)

    def _note(self, route: str, status: int | None, seconds: float) -> None:
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
        }
        _log.info(json.dumps(line))


def _complete(headers: MutableHeaders) -> None:
    """Add what every answer says."""
    headers.update(_HEADERS)
    # Files of the page are asked for anew and sent if they changed; scores are never kept.
    headers["Cache-Control"] = "no-cache" if "etag" in headers else "no-store"


def _route_of(scope: Scope) -> str:
    """Return the route that answered, of which there are few: never a path as it was typed."""
    return str(getattr(scope.get("route"), "path", "") or "/")


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
