"""What the page needs to score on the device: the models and what they mean.

In:   the embedded models.
Out:  /device/models.json and /device/NAME.onnx, or `write_site`: the page as plain files that any
      static host serves. The code that runs in the browser is built from web/ by `make web`.
"""

import json
import shutil
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from mspt.errors import ConfigError
from mspt.image.decode import MAX_PIXELS, MIN_SIDE_PX
from mspt.inference.models import embedded_models
from mspt.inference.session import open_session
from mspt.results import BANDS

PAGE = Path(str(resources.files("mspt.serve").joinpath("page")))
_BUILT = "device"  # folder of the page that `make web` fills


def is_built() -> bool:
    """Tell whether this package has what runs in the browser."""
    return (PAGE / _BUILT / "device.js").is_file()


@cache
def describe_models(*, has_server: bool) -> dict[str, Any]:
    """Return models.json: what web/src/models.ts reads."""
    models = {}
    for name, path in embedded_models().items() if is_built() else ():
        info = open_session(path, "onnxruntime").info
        models[name] = {
            "label": info.label,
            "file": f"{name}.onnx",
            "crop_side": info.spec.crop_side,
            "short_side": info.spec.short_side,
            "quantiles": info.reference.quantiles,
        }
    return {
        "models": models,
        "server": has_server,
        "bands": BANDS,
        "min_side_px": MIN_SIDE_PX,
        "max_pixels": MAX_PIXELS,
    }


def device_routes() -> APIRouter:
    """Return the routes of the models, which a browser keeps until they change."""
    router = APIRouter(include_in_schema=False)
    files = embedded_models()

    @router.get("/device/models.json")
    def models() -> Response:  # on a thread: the first time, both models are opened
        return JSONResponse(describe_models(has_server=True))

    @router.get("/device/{name}.onnx")
    async def model(name: str) -> Response:
        if name not in files:
            return Response(status_code=404)
        return FileResponse(files[name], media_type="application/octet-stream")

    return router


def write_site(folder: Path) -> None:
    """Write the page that scores on the device only, as plain files.

    Raises:
        ConfigError: if the folder has other files, or the page was not built.
    """
    if not is_built():
        raise ConfigError("the part that runs in the browser is not built; run `make web`")
    if folder.exists() and any(folder.iterdir()) and not (folder / _BUILT).is_dir():
        raise ConfigError(f"{folder}: holds other files; name an empty folder, or a new one")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PAGE, folder)
    for name, path in embedded_models().items():
        shutil.copyfile(path, folder / _BUILT / f"{name}.onnx")
    about = json.dumps(describe_models(has_server=False))
    (folder / _BUILT / "models.json").write_text(about, encoding="utf-8")
