"""What is fuzzed: pictures, videos, models and scores files, and what each must come to.

In:   a kind's name.
Out:  whole small files of the kind, and what is done with a damaged one: it returns, or raises the
      errors that are meant for such a file; any other exception is a finding.
"""

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from benchmarks.fuzz.raw_file import dng
from PIL import Image

from mspt import scores
from mspt.arrays import RGB
from mspt.errors import ConfigError, DataError, ImageError, ModelError
from mspt.image.decode import decode_rgb
from mspt.image.preprocess import resize_rgb
from mspt.inference.models import find_model
from mspt.inference.probe import probe_squares
from mspt.inference.scorer import Scorer
from mspt.inference.video import open_shots
from mspt.results import COLUMNS
from mspt.spec import square_spec

_SIDE_PX = 64
_SAVED_AS = (  # Pillow's format, mode, options
    ("JPEG", "RGB", {"quality": 80}),
    ("JPEG", "RGB", {"quality": 80, "progressive": True}),
    ("JPEG", "CMYK", {"quality": 80}),
    ("JPEG", "L", {"quality": 80, "restart_marker_rows": 2}),
    ("PNG", "RGB", {}),
    ("PNG", "P", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "I;16", {}),
    ("WEBP", "RGB", {"quality": 70}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("GIF", "P", {}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "RGB", {"tiffinfo": {254: 1}}),  # a reduced copy
    ("TIFF", "RGB", {"tiffinfo": {254: 1, 330: 8, 50706: 1}}),  # as in a camera's RAW file
    ("AVIF", "RGB", {"quality": 60}),
    ("JPEG2000", "RGB", {}),
)


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of file."""

    make: Callable[[], list[bytes]]  # whole files
    open: Callable[[bytes], object]
    expected: tuple[type[Exception], ...]


@cache
def _face() -> RGB:
    (portrait, *_) = probe_squares(square_spec(_SIDE_PX))
    return portrait


def _pictures() -> list[bytes]:
    made = [b for form, mode, options in _SAVED_AS for b in _encode(form, mode, **options)]
    (jpeg, *_) = _encode("JPEG", "RGB", quality=80)
    return [*made, dng(jpeg, _SIDE_PX, _SIDE_PX)]


def _encode(form: str, mode: str, **options: object) -> Iterator[bytes]:
    """Yield a picture plain, and with EXIF and a profile."""
    picture = Image.fromarray(_face())
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) << 8)
    else:
        picture = picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    for more in ({}, {"exif": exif.tobytes()} if form in ("JPEG", "PNG", "WEBP", "AVIF") else None):
        if more is not None:
            buffer = io.BytesIO()
            picture.save(buffer, form, **options, **more)
            yield buffer.getvalue()


_CONTAINERS = (("mp4", "libx264"), ("mkv", "libvpx-vp9"), ("avi", "mpeg4"), ("ts", "mpeg2video"))


def _videos() -> list[bytes]:
    import av

    made = []
    for form, codec in _CONTAINERS:
        buffer = io.BytesIO()
        with av.open(
            buffer, "w", format={"mkv": "matroska", "ts": "mpegts"}.get(form, form)
        ) as out:
            stream = out.add_stream(codec, rate=10)
            stream.width = stream.height = _SIDE_PX
            stream.pix_fmt = "yuv420p"
            for shift in range(8):
                frame = av.VideoFrame.from_ndarray(np.roll(_face(), 4 * shift, axis=1), "rgb24")
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        made.append(buffer.getvalue())
    return made


def _open_video(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        for shot in open_shots([file.name], 0.2):
            if shot.error is None:
                resize_rgb(np.asarray(shot.image), 64, 64)


def _models() -> list[bytes]:
    """Return a network of one mean that says of itself what `fast` does, but takes 32 px."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["rgb"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["x", "most"], ["y"]),
        helper.make_node("ReduceMean", ["y"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]
    rgb = helper.make_tensor_value_info("rgb", TensorProto.UINT8, ["n", 32, 32, 3])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])
    most = helper.make_tensor("most", TensorProto.FLOAT, [], [255.0])
    graph = helper.make_graph(nodes, "mean", [rgb], [score], [most])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    said = {p.key: p.value for p in onnx.load(find_model("fast")).metadata_props}
    helper.set_model_props(model, said | {"mspt.input_spec": square_spec(32).to_json()})
    return [model.SerializeToString()]


def _open_model(data: bytes) -> float:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(data)
        file.flush()
        return Scorer(file.name, backend="onnxruntime").score(np.zeros((40, 40, 3), np.uint8)).score


_TABLES = (".csv", ".jsonl", ".parquet")


def _tables() -> list[bytes]:
    known = dict.fromkeys(COLUMNS) | {"score": 0.5, "status": "ok", "model": "m@1"}
    rows = [
        scores.ScoreRow(n, f"{n}-é.jpg", 0.5, "ok", known | {"path": f"{n}-é.jpg"})
        for n in range(20)
    ]
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in _TABLES:
            path = Path(folder, f"rows{suffix}")
            scores.write_rows(path, COLUMNS, rows)
            made.append(path.read_bytes())
    return made


def _open_table(data: bytes) -> None:
    """Read it as each form in turn: a name may lie."""
    for suffix in _TABLES:
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(data)
            file.flush()
            try:
                for _ in scores.open_scores(file.name).rows():
                    pass
            except (DataError, ConfigError):
                pass


TARGETS: Mapping[str, Target] = {
    "pictures": Target(_pictures, decode_rgb, (ImageError,)),
    "videos": Target(_videos, _open_video, ()),
    "models": Target(_models, _open_model, (ModelError,)),
    "tables": Target(_tables, _open_table, ()),
}
