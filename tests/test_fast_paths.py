"""Every decoder in use gives the score of the reference path: Pillow decodes in full."""

import io

import numpy as np
import pytest
import simplejpeg
from conftest import ROOT, encode
from PIL import Image, ImageOps

from mspt.arrays import RGB
from mspt.inference.scorer import Scorer

pytestmark = pytest.mark.slow

MAX_DIFFERENCE = 0.002  # of a score: what a faster path may cost


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.open(ROOT / "examples/astronaut.png").convert("RGB")


def reference_score(scorer: Scorer, data: bytes) -> float:
    """Score what Pillow decodes and turns."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    return scorer.score(np.asarray(image)).score


def check(scorer: Scorer, data: bytes) -> None:
    difference = abs(scorer.score(data).score - reference_score(scorer, data))
    assert difference < MAX_DIFFERENCE, f"{difference:.5f} from the reference path"


def textured(image: Image.Image, width: int, height: int, grain: float = 8) -> RGB:
    """Enlarge a photo and give it grain at its own size, as a sensor does."""
    rgb = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, grain, (height, width, 3))
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size_wh", [(224, 224), (300, 500), (640, 640), (1024, 768), (4000, 3000)])
def test_jpegs_of_every_size(
    size_wh: tuple[int, int], scorer: Scorer, astronaut: Image.Image
) -> None:
    check(scorer, encode(textured(astronaut, *size_wh), "JPEG", quality=90))


@pytest.mark.slow
def test_a_jpeg_of_six_thousand_pixels(scorer: Scorer, astronaut: Image.Image) -> None:
    check(scorer, encode(textured(astronaut, 6000, 6000), "JPEG", quality=85))


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
def test_jpegs_of_every_chroma_subsampling(
    subsampling: str, scorer: Scorer, astronaut: Image.Image
) -> None:
    rgb = textured(astronaut, 801, 799)  # odd sides leave half blocks
    check(scorer, simplejpeg.encode_jpeg(rgb, quality=85, colorsubsampling=subsampling))


@pytest.mark.parametrize("quality", [10, 50, 100])
def test_progressive_jpegs(quality: int, scorer: Scorer, astronaut: Image.Image) -> None:
    check(scorer, encode(textured(astronaut, 900, 700), "JPEG", quality=quality, progressive=True))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_colour_modes(mode: str, scorer: Scorer, astronaut: Image.Image) -> None:
    check(scorer, encode(astronaut.convert(mode), "JPEG", quality=90))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_turned_by_exif(orientation: int, scorer: Scorer, astronaut: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    check(scorer, encode(textured(astronaut, 700, 900), "JPEG", quality=90, exif=exif))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("side", [224, 1500])
def test_other_forms(form: str, side: int, scorer: Scorer, astronaut: Image.Image) -> None:
    check(scorer, encode(textured(astronaut, side, side), form))


def test_the_check_notices_a_path_that_changes_scores(
    scorer: Scorer, astronaut: Image.Image
) -> None:
    """Decoding at a quarter of the size, which libjpeg offers for free: why it is not used."""
    data = encode(textured(astronaut, 2560, 2560, 20), "JPEG", quality=90, subsampling=0)
    quarter = simplejpeg.decode_jpeg(data, "RGB", min_height=640, min_width=640)
    assert quarter.shape == (640, 640, 3)
    assert abs(scorer.score(quarter).score - reference_score(scorer, data)) > MAX_DIFFERENCE
