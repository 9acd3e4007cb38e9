"""What the page needs to score on the device: the models and what they mean.

In:   the embedded models, and the detector's file where there is one.
Out:  /device/models.json, the files that it names, or `write_site`: the page as plain files that
      any static host serves. The code that runs in the browser is built from web/ by `make web`.
"""

import json
import shutil
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from mspt.errors import ConfigError, ModelError, WriteError
from mspt.image.decode import MIN_SIDE_PX
from mspt.image.factors import (
    BLOCKS_SHOW,
    CAUSES,
    EXTREME,
    GOOD,
    NO_SINGLE_CAUSE,
    POOR,
    SMALL,
    SMALL_SHARE,
    FactorReference,
    load_reference,
)
from mspt.image.preprocess import resize_to_input
from mspt.inference.faces import find_detector
from mspt.inference.models import embedded_models
from mspt.inference.probe import PROBE, probe_face
from mspt.inference.session import open_session
from mspt.results import BANDS
from mspt.serve.settings import Settings

PAGE = Path(str(resources.files("mspt.serve").joinpath("page")))
_BUILT = "device"  # folder of the page that `make web` fills
_DETECTOR = "detector.onnx"
_ABOUT = "models.json"
_SITE_DRAFT = ".mspt-site-"


def is_built() -> bool:
    """Tell whether this package has what runs in the browser."""
    return (PAGE / _BUILT / "device.js").is_file()


def known_detector(file: Path | None) -> Path | None:
    """Return the detector's file if it is a known one: only that is given to browsers."""
    try:
        return find_detector(file)
    except (ConfigError, ModelError):
        return None


@cache
def describe_models(
    *, has_server: bool, has_detector: bool, max_faces: int, max_pixels: int
) -> dict[str, Any]:
    """Return models.json: what web/src/models.ts reads."""
    models = {}
    for name, path in embedded_models().items() if is_built() else ():
        session = open_session(path, "onnxruntime")
        info = session.info
        models[name] = {
            "label": info.label,
            "file": f"{name}.onnx",
            "crop_side": info.spec.crop_side,
            "short_side": info.spec.short_side,
            "quantiles": info.reference.quantiles,
            "probe_score": session.score_rgb(resize_to_input(probe_face(), info.spec)),
            "face_margin": info.spec.face_margin,
            "factors": _describe_reference(load_reference(info.spec.crop_side)),
        }
    return {
        "models": models,
        "server": has_server,
        "probe": PROBE.name,
        "detector": _DETECTOR if has_detector else None,
        "max_faces": max_faces,
        "bands": BANDS,
        "causes": {
            "causes": [cause._asdict() | {"reason": cause.reason._asdict()} for cause in CAUSES],
            "small": SMALL,
            "small_share": SMALL_SHARE,
            "blocks_show": BLOCKS_SHOW,
            "good": GOOD,
            "extreme": EXTREME,
            "poor": POOR,
            "no_single_cause": NO_SINGLE_CAUSE._asdict(),
        },
        "min_side_px": MIN_SIDE_PX,
        "max_pixels": max_pixels,
    }


def _describe_reference(reference: FactorReference) -> dict[str, Any]:
    return {"quantiles": reference.quantiles, "good": reference.good}


def device_routes(settings: Settings) -> APIRouter:
    """Return the routes of the files, which a browser keeps until they change."""
    router = APIRouter(include_in_schema=False)
    files = {f"{name}.onnx": path for name, path in embedded_models().items()}
    detector = known_detector(Path(settings.detector) if settings.detector else None)
    if detector:
        files[_DETECTOR] = detector

    @router.get(f"/device/{_ABOUT}")
    def models() -> Response:  # on a thread: the first time, both models are opened
        about = describe_models(
            has_server=True,
            has_detector=detector is not None,
            max_faces=settings.max_faces,
            max_pixels=settings.max_pixels,
        )
        return JSONResponse(about)

    @router.get("/device/{stem}.onnx")
    async def model(stem: str) -> Response:
        file = files.get(f"{stem}.onnx")
        if file is None:
            return Response(status_code=404)
        return FileResponse(file, media_type="application/octet-stream")

    @router.get(f"/device/{PROBE.name}")
    async def probe() -> Response:
        return FileResponse(PROBE)

    return router


def write_site(folder: Path, detector: Path | None, *, max_faces: int, max_pixels: int) -> None:
    """Write the page that scores on the device only, as plain files.

    Args:
        folder: a new or empty one, or that of an earlier site.
        detector: finds faces there; None: centres are scored.
        max_faces: scored of a photo, the largest.
        max_pixels: of one photo.

    Raises:
        ConfigError: if the folder has other files, or the page was not built.
        WriteError: if it cannot be written.
    """
    if not is_built():
        raise ConfigError("the part that runs in the browser is not built; run `make web`")
    _check_site(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Within it, since it may be another disk's.
        with tempfile.TemporaryDirectory(prefix=_SITE_DRAFT, dir=folder) as draft:
            about = describe_models(
                has_server=False,
                has_detector=detector is not None,
                max_faces=max_faces,
                max_pixels=max_pixels,
            )
            _fill_site(Path(draft, "site"), detector, about)
            for new in Path(draft, "site").iterdir():
                old = folder / new.name
                if old.exists():
                    old.replace(Path(draft, new.name))
                new.replace(old)
    except OSError as error:
        reason = error.strerror or error
        if isinstance(error, shutil.Error):  # a list of what could not be copied, and why
            reason = error.args[0][0][2]
        raise WriteError(f"{folder}: cannot be written: {reason}") from error


def _check_site(folder: Path) -> None:
    """Refuse a folder that is neither empty nor an earlier site and nothing else."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    found = {name for name in names if not name.startswith(_SITE_DRAFT)}
    others = found - {entry.name for entry in PAGE.iterdir()}
    if others or (found and not (folder / _BUILT / _ABOUT).is_file()):
        raise ConfigError(
            f"{folder}: holds other files, such as {min(others or found)}; name an empty folder, "
            "or a new one"
        )


def _fill_site(folder: Path, detector: Path | None, about: dict[str, Any]) -> None:
    shutil.copytree(PAGE, folder)
    for name, path in embedded_models().items():
        shutil.copyfile(path, folder / _BUILT / f"{name}.onnx")
    shutil.copyfile(PROBE, folder / _BUILT / PROBE.name)
    if detector:
        shutil.copyfile(detector, folder / _BUILT / _DETECTOR)
    (folder / _BUILT / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
