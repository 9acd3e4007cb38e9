"""The one resize and crop, and the spec that describes them."""

import numpy as np
import pytest
from conftest import encode
from PIL import Image

from mspt.arrays import RGB
from mspt.errors import ModelError
from mspt.image.crop import crop_centre_square
from mspt.image.decode import decode_rgb
from mspt.image.preprocess import prepare_rgb, resize_rgb
from mspt.parallel import map_in_order
from mspt.spec import InputSpec, square_spec


@pytest.mark.parametrize("side", [100, 224, 384, 640, 900])
def test_the_resize_is_pillows_antialiased_bicubic(side: int, face: RGB) -> None:
    ours = resize_rgb(face, side, side).astype(int)
    pillow = resize_rgb(face, side, side, "bicubic").astype(int)
    by_hand = Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC)
    assert np.array_equal(pillow, np.asarray(by_hand))
    difference = np.abs(ours - pillow)
    assert (difference > 1).mean() < 1e-3
    assert difference.mean() < 0.3


def test_a_model_file_is_given_pixels_by_the_resize_that_it_names(face: RGB) -> None:
    for resample in ("catmull_rom", "bicubic"):
        spec = InputSpec(short_side=96, crop_side=96, resample=resample)
        assert np.array_equal(prepare_rgb(face, spec), resize_rgb(face, 96, 96, resample))


def test_threads_resize_as_one_does(face: RGB) -> None:
    sides = list(range(40, 140)) * 3
    expected = {side: resize_rgb(face, side, side) for side in sides}
    found = map_in_order(lambda side: resize_rgb(face, side, side), sides, workers=4)
    assert all(np.array_equal(a, expected[b]) for a, b in zip(found, sides, strict=True))


def test_resizing_to_the_same_size_changes_nothing(face: RGB) -> None:
    assert np.array_equal(resize_rgb(face, *face.shape[:2]), face)


@pytest.mark.parametrize("shape", [(320, 320), (320, 200), (200, 320), (33, 500)])
def test_any_shape_becomes_the_specs_square(shape: tuple[int, int], face: RGB) -> None:
    prepared = prepare_rgb(face[: shape[0], : shape[1]], square_spec(64))
    assert prepared.shape == (64, 64, 3)
    assert prepared.dtype == np.uint8


def test_the_square_is_cut_from_the_centre() -> None:
    rgb = np.zeros((40, 100, 3), dtype=np.uint8)
    rgb[:, 30:70] = 255
    assert (crop_centre_square(rgb) == 255).all()
    assert (prepare_rgb(rgb, square_spec(32)) == 255).all()


def test_a_crop_side_below_the_short_side_keeps_that_share_of_the_image() -> None:
    rgb = np.zeros((100, 100, 3), dtype=np.uint8)
    rgb[25:75, 25:75] = 255
    spec = InputSpec(short_side=128, crop_side=64)
    assert (prepare_rgb(rgb, spec) == 255).all()


def test_memory_layout_does_not_matter(face: RGB) -> None:
    mirrored = face[:, ::-1].transpose(1, 0, 2)
    expected = prepare_rgb(np.ascontiguousarray(mirrored), square_spec(96))
    assert np.array_equal(prepare_rgb(mirrored, square_spec(96)), expected)
    turned = decode_rgb(encode(mirrored, "PNG"))
    assert np.array_equal(prepare_rgb(turned, square_spec(96)), expected)


def test_a_spec_survives_its_json() -> None:
    spec = InputSpec(short_side=683, crop_side=640)
    assert InputSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not an InputSpec"),
        ('{"short_side": 640}', "not an InputSpec"),
        ('{"short_side": 640, "crop_side": 700}', "crop_side 700 px must lie in 32..short_side"),
        ('{"short_side": 100000, "crop_side": 64}', "must be at most 2048 px"),
        ('{"short_side": 64.5, "crop_side": 64}', "must be whole numbers of px"),
        ('{"short_side": 64, "crop_side": 64, "resample": "box"}', "resample 'box'.* unknown"),
    ],
)
def test_a_spec_that_cannot_be_honoured_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        InputSpec.from_json(text)
