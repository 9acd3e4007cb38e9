"""Errors as clients get them: application/problem+json (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """Why a request was not done, and what mends it."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        """Name the status of the answer and the detail; `more` are members of the JSON."""
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more

    def response(self) -> JSONResponse:
        """Return the answer."""
        body = {"type": "about:blank", "title": self.status.phrase, "status": int(self.status)}
        return JSONResponse(
            body | {"detail": self.detail} | self.more,
            status_code=self.status,
            headers=dict(self.headers or {}),
            media_type=MEDIA_TYPE,
        )


class PhotoProblemError(ProblemError):
    """Why one photo was not scored: others of the same request may be."""


def too_large(what: str, size: int | None, limit: int) -> ProblemError:
    """Return 413: a body or a photo of more bytes than are taken."""
    has = f"{size:,} bytes" if size is not None else "more"
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"{what} has {has}, but at most {limit:,} bytes are taken; send a smaller one",
    )


def busy(seconds: int, why: str) -> ProblemError:
    """Return 503 with the time after which to come back."""
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, why, headers={"Retry-After": str(seconds)})
