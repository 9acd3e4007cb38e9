"""The photos in a request's body, read within limits and kept in memory only.

In:   a request: the bytes of one photo, or multipart/form-data with several.
Out:  Uploads; a ProblemError where the body is too large, of another kind, or damaged.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mspt.serve.problems import ProblemError, too_large
from mspt.serve.settings import Settings

_MULTIPART = "multipart/form-data"
_RAW = ("image/", "application/octet-stream")
_NAMED = "a photo is a part of the form with a filename"


@dataclass(frozen=True, slots=True)
class Upload:
    """One photo as it came."""

    name: str  # as the client calls it; goes back into the row and nowhere else
    data: bytes


class _InMemory(MultiPartParser):
    """Starlette's parser, but photos never touch the disk: the body's limit bounds the memory."""

    def __init__(self, request: Request, body: bytes, max_files: int) -> None:
        async def stream() -> AsyncGenerator[bytes]:
            yield body

        super().__init__(request.headers, stream(), max_files=max_files, max_fields=8)
        self.spool_max_size = len(body) + 1


async def read_uploads(request: Request, settings: Settings, *, max_files: int) -> list[Upload]:
    """Return the photos of a request, at least one.

    Raises:
        ProblemError: 408 for a body that does not arrive in time, 413 for too many bytes, 415 for
            another type, 422 for a body without a photo.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_multipart = kind == _MULTIPART
    if not is_multipart and not kind.startswith(_RAW):
        said = f"Content-Type {kind!r} is not taken" if kind else "there is no Content-Type"
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{said}; send the photo as image/jpeg or the like, or photos as multipart/form-data",
        )
    limit = settings.max_body if is_multipart else min(settings.max_image, settings.max_body)
    try:
        async with asyncio.timeout(settings.timeout_s):
            body = await _read_body(request, limit)
    except TimeoutError:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body did not arrive within {settings.timeout_s:g} s; send fewer bytes at once",
        ) from None
    uploads = await _parts(request, body, max_files) if is_multipart else [Upload("", body)]
    if not uploads or not body:
        why = f"the request holds no photo; {_NAMED if is_multipart else 'send one'}"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, why)
    for number, upload in enumerate(uploads, 1):
        if len(upload.data) > settings.max_image:
            raise too_large(f"photo {number}", len(upload.data), settings.max_image)
    return uploads


async def _read_body(request: Request, limit: int) -> bytes:
    """Read no more than is allowed, whatever the header promises."""
    promised = request.headers.get("content-length", "")
    if promised.isdigit() and int(promised) > limit:
        raise too_large("the body", int(promised), limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large("the body", None, limit)
        parts.append(part)
    return b"".join(parts)


async def _parts(request: Request, body: bytes, max_files: int) -> list[Upload]:
    try:
        form = await _InMemory(request, body, max_files).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        reason = getattr(error, "message", str(error)).rstrip(".")
        remedy = _at_most(max_files) if reason.startswith("Too many files") else _NAMED
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the form cannot be read: {reason}; {remedy}"
        ) from error
    try:
        files = [item for _, item in form.multi_items() if isinstance(item, UploadFile)]
        return [Upload(_text(file.filename or ""), await file.read()) for file in files]
    finally:
        await form.close()


def _at_most(files: int) -> str:
    if files == 1:
        return "one photo is taken here, several by /v1/score/batch"
    return f"at most {files} photos are taken at once"


def _text(name: str) -> str:
    """Return a name that JSON can hold, whatever charset the form claims."""
    return name.encode("utf-8", "replace").decode()
