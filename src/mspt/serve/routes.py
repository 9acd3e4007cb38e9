"""The routes: /v1/score, /v1/score/batch, /v1/models; /healthz, /readyz, /metrics.

In:   a Service.
Out:  routers; every error is a ProblemError.
"""

import ipaddress
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Query, Request, params
from fastapi.responses import PlainTextResponse, Response
from fastapi.security import HTTPBearer

from mspt.inference.models import embedded_models
from mspt.results import COLUMNS, FACTOR_COLUMNS, type_of_column
from mspt.serve import metrics as figures
from mspt.serve.photos import Row
from mspt.serve.problems import PhotoProblemError, ProblemError
from mspt.serve.service import Service
from mspt.serve.settings import TOKEN_VARIABLE
from mspt.serve.upload import read_uploads

_CUSTOMER_BITS = 64
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    }
}
_EXAMPLE: Row = {  # with ?detect=true: else what is a face's alone is null
    "path": "selfie.jpg",
    "face": 0,
    "n_faces": 1,
    "score": 0.7312,
    "percentile": 71.4,
    "band": "good",
    "status": "ok",
    "error": "",
    "x1": 310.5,
    "y1": 402.0,
    "x2": 741.8,
    "y2": 968.3,
    "det_score": 0.931,
    "width": 1080,
    "height": 1350,
    "model": "base@12",
}
_JSON_TYPES = {"str": "string", "int": "integer", "float": "number"}
_ROW = {
    "type": "object",
    "required": list(COLUMNS),
    "properties": {
        name: {"type": [_JSON_TYPES[type_of_column(name)], "null"]}
        for name in (*COLUMNS, *FACTOR_COLUMNS)
    },
}
_ROWS = {"type": "object", "properties": {"rows": {"type": "array", "items": _ROW}}}
_PHOTOS = {"type": "object", "properties": {"photos": {"type": "array", "items": _ROWS}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    int(status): {"description": status.phrase, "content": {"application/problem+json": {}}}
    for status in (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}
_ONLY_TOKEN: dict[int | str, dict[str, Any]] = {401: _PROBLEMS[401]}
_TOKEN = HTTPBearer(auto_error=False, description=f"The server's ${TOKEN_VARIABLE}, if it has one.")
_WISHES = frozenset({"detect", "factors", "crop"})
_DETECT = Query(default=False, description="Find faces: a row for each, the largest first.")
_FACTORS = Query(default=False, description="Measure why: sharpness, noise ... and reasons.")
_CROP = Query(default=False, description="Send the scored square back, as base64 of a JPEG.")


def scoring_routes(service: Service) -> APIRouter:
    """Return the routes that score; they ask for the token, if there is one."""
    router = APIRouter(prefix="/v1", dependencies=_asks_for_token(service))
    settings = service.settings

    @router.post(
        "/score",
        dependencies=[Depends(_know_wishes)],
        responses=_PROBLEMS | _answers(_ROWS, {"rows": [_EXAMPLE]}),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"image/*": _BINARY, "multipart/form-data": _FORM},
            }
        },
    )
    async def score(
        request: Request, detect: bool = _DETECT, factors: bool = _FACTORS, crop: bool = _CROP
    ) -> dict[str, list[Row]]:
        """Score one photo: the body is the photo, or a form with one file."""
        async with service.queue.admit(_client(request)):
            (upload,) = await read_uploads(request, settings, max_files=1)
            rows = await service.score_in_turn(request, upload, detect, factors, crop)
        is_of_photo = rows[0]["face"] is None  # a face too small is an answer, not a bad request
        if is_of_photo and rows[0]["status"] in ("unreadable", "too_small", "too_large"):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(rows[0]["error"]), row=rows[0])
        return {"rows": rows}

    @router.post(
        "/score/batch",
        dependencies=[Depends(_know_wishes)],
        responses=_PROBLEMS | _answers(_PHOTOS, {"photos": [{"rows": [_EXAMPLE]}]}),
        openapi_extra={
            "requestBody": {"required": True, "content": {"multipart/form-data": _FORM}}
        },
    )
    async def score_batch(
        request: Request, detect: bool = _DETECT, factors: bool = _FACTORS, crop: bool = _CROP
    ) -> dict[str, list[dict[str, list[Row]]]]:
        """Score the photos of a form, in their order; one that fails has a row that says why."""
        async with service.queue.admit(_client(request)):
            uploads = await read_uploads(request, settings, max_files=settings.max_batch)
            photos = []
            for upload in uploads:
                try:
                    rows = await service.score_in_turn(request, upload, detect, factors, crop)
                except PhotoProblemError as problem:
                    rows = [service.failed_row(upload, problem.detail)]
                photos.append({"rows": rows})
        return {"photos": photos}

    @router.get("/models", responses=_ONLY_TOKEN)
    async def models() -> dict[str, Any]:
        """What scores here, and the models that ship with mspt."""
        return {
            "model": service.model.label,
            "input_px": service.model.info.spec.crop_side,
            "embedded": sorted(embedded_models()),
        }

    return router


def health_routes(service: Service) -> APIRouter:
    """Return the routes that operators ask."""
    router = APIRouter()

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        """Answer while the process lives."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def ready() -> dict[str, str]:
        """Answer while photos are taken."""
        return {"status": "ready", "model": service.model.label}

    @router.get(
        "/metrics",
        dependencies=_asks_for_token(service),
        response_class=PlainTextResponse,
        responses=_ONLY_TOKEN,
    )
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), media_type=figures.CONTENT_TYPE)

    return router


def _asks_for_token(service: Service) -> list[params.Depends]:
    """Return what refuses requests without the token, if there is one."""

    def show_token(request: Request) -> None:
        if not service.is_allowed(request):
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                f"send Authorization: Bearer TOKEN, with the server's ${TOKEN_VARIABLE}",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return [Depends(_TOKEN), Depends(show_token)]


def _answers(schema: object, example: object) -> dict[int | str, dict[str, Any]]:
    """Return what a route says of its answer when all goes well."""
    return {200: {"content": {"application/json": {"schema": schema, "example": example}}}}


def _know_wishes(request: Request) -> None:
    """Refuse a misspelt query: it would be left out without a word."""
    if unknown := sorted(request.query_params.keys() - _WISHES):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{', '.join(unknown)}: no such query; there are {', '.join(sorted(_WISHES))}",
        )


def _client(request: Request) -> str:
    """Return whose request it is: an address, of IPv6 the network that one customer has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket's file, or a test
        return host
    if address.version == 6 and not address.ipv4_mapped:
        return str(ipaddress.ip_network((address, _CUSTOMER_BITS), strict=False))
    return host
