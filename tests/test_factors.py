"""Factors beside the score: each follows its own damage, and reasons say what one sees."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from conftest import FACES
from numpy.random import default_rng

from mspt.arrays import RGB
from mspt.errors import ImageTooLargeError, ImageTooSmallError
from mspt.image.decode import read_rgb
from mspt.image.factors import (
    CAUSES,
    FactorReference,
    explain,
    load_reference,
    luma_of,
    measure_blockiness,
    measure_colour_cast,
    measure_factors,
    measure_noise,
    measure_sharpness,
    measure_uneven_light,
)
from mspt.image.preprocess import resize_rgb
from mspt.results import Factors
from mspt.synthesis.degradations import SINGLE
from mspt.synthesis.pixel_ops import recompress, scale_light, to_gray

SIDE = 640


def factors_of(square: RGB, side: int = SIDE) -> Factors:
    return measure_factors(square, resize_rgb(square, side, side))


def damaged(face: RGB, kind: str, severity: float) -> RGB:
    return SINGLE[kind](face, severity, default_rng(1))


@pytest.mark.parametrize(
    ("kind", "name", "sign"),
    [
        ("gaussian_blur", "sharpness", -1),
        ("anisotropic_blur", "sharpness", -1),
        ("defocus_blur", "sharpness", -1),
        ("motion_blur", "sharpness", -1),
        ("low_resolution", "sharpness", -1),
        ("gaussian_noise", "noise", 1),
        ("shot_noise", "noise", 1),
        ("iso_noise", "noise", 1),
        ("jpeg", "blockiness", 1),
        ("double_jpeg", "blockiness", 1),
        ("underexposure", "brightness", -1),
        ("overexposure", "brightness", 1),
        ("low_contrast", "contrast", -1),
        ("color_cast", "colour_cast", 1),
        ("mixed_light", "uneven_light", 1),
    ],
)
def test_a_factor_follows_its_own_damage(kind: str, name: str, sign: int, face: RGB) -> None:
    ladder = [face, *(damaged(face, kind, severity) for severity in (0.1, 0.3, 0.5, 0.7))]
    values = [sign * getattr(factors_of(rgb), name) for rgb in ladder]
    assert values == sorted(values)
    assert values[-1] > values[0]


@pytest.mark.parametrize("kind", ["gaussian_noise", "iso_noise", "jpeg", "low_contrast"])
def test_noise_blocks_and_fog_are_not_sharpness(kind: str, face: RGB) -> None:
    before = factors_of(face).sharpness
    assert factors_of(damaged(face, kind, 0.7)).sharpness == pytest.approx(before, abs=0.15)


def test_a_dark_photo_is_not_called_flat_as_well(face: RGB) -> None:
    dark = factors_of(damaged(face, "underexposure", 0.5))
    assert dark.contrast == pytest.approx(factors_of(face).contrast, abs=0.05)


def test_noise_is_measured_in_grey_values(face: RGB) -> None:
    even = np.full((256, 256), 128, dtype=np.float32)
    for sigma in (2, 8, 20):
        noisy = even + default_rng(0).normal(0, sigma, even.shape).astype(np.float32)
        assert measure_noise(noisy) == pytest.approx(sigma, rel=0.1)


def test_an_ideal_step_has_sharpness_one_in_any_direction() -> None:
    y, x = np.mgrid[:200, :200]
    for edge in (x > 100, y > 100, x + y > 200, x > y):
        assert measure_sharpness(edge.astype(np.float32) * 90) == pytest.approx(1, abs=0.02)


def test_blockiness_does_not_depend_on_where_the_crop_begins(face: RGB) -> None:
    luma = luma_of(recompress(face, "JPEG", 25))
    values = [measure_blockiness(luma[offset : offset + 300, 7 - offset :]) for offset in range(8)]
    assert min(values) > 5 * measure_blockiness(luma_of(face))
    assert max(values) < 1.1 * min(values)


def test_blocks_are_sought_at_native_size_and_the_rest_at_the_networks(face: RGB) -> None:
    small = resize_rgb(face, 160, 160)
    factors = measure_factors(recompress(face, "JPEG", 20), small)
    assert factors.blockiness > 0.5
    assert factors.face_px == 320
    assert replace(measure_factors(face, small), blockiness=factors.blockiness) == factors


@pytest.mark.parametrize("level", [0, 127, 255])
@pytest.mark.parametrize("side", [32, 33, 40, 640])
def test_an_even_square_has_no_edges_no_noise_no_blocks_and_no_contrast(
    level: int, side: int
) -> None:
    square = np.full((side, side, 3), level, dtype=np.uint8)
    factors = measure_factors(square, square)
    assert factors.brightness == pytest.approx(level / 255, abs=1e-3)
    assert factors == Factors(
        **dict.fromkeys(NAMES, 0) | {"brightness": factors.brightness}, face_px=side
    )


@pytest.mark.parametrize("rows", [slice(16, 17), slice(0, None, 2), slice(0, None, 8)])
def test_stripes_give_finite_factors(rows: slice) -> None:
    square = np.zeros((32, 32, 3), dtype=np.uint8)
    square[rows] = 255
    for rgb in (square, square.transpose(1, 0, 2)):
        factors = measure_factors(rgb, rgb)
        assert np.isfinite([factors.sharpness, factors.noise, factors.blockiness]).all()
        assert factors.sharpness >= 0
        assert 0 <= factors.contrast <= 1


def test_a_huge_square_is_measured_by_its_middle(face: RGB) -> None:
    tile = recompress(face, "JPEG", 20)
    huge = np.tile(tile, (14, 14, 1))  # 4480 px
    factors = measure_factors(huge, resize_rgb(face, SIDE, SIDE))
    assert factors.blockiness > 0.5
    assert factors.face_px == 4480


def test_the_same_pixels_give_the_same_factors_whatever_their_layout(face: RGB) -> None:
    prepared = resize_rgb(face, SIDE, SIDE)
    expected = measure_factors(face, prepared)
    assert measure_factors(face, prepared) == expected
    assert measure_factors(np.asfortranarray(face), np.asfortranarray(prepared)) == expected


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda rgb: rgb[:, :200], TypeError, r"square: array of uint8 \(320, 200, 3\) must be"),
        (lambda rgb: rgb[..., 0], TypeError, r"square: array of uint8 \(320, 320\) must be"),
        (lambda rgb: rgb / 255, TypeError, "square: array of float64"),
        (lambda rgb: rgb[:31, :31], ImageTooSmallError, "31 x 31 px"),
        (
            lambda rgb: np.broadcast_to(rgb[:1, :1], (12000, 12000, 3)),
            ImageTooLargeError,
            "12000 x 12000 px",
        ),
    ],
)
def test_what_is_no_square_is_refused_by_name(
    spoil: Callable[[RGB], RGB], error: type[Exception], message: str, face: RGB
) -> None:
    with pytest.raises(error, match=message):
        measure_factors(spoil(face), face)


REASON_OF_EXAMPLE = {
    "original": (),
    "color_cast-0.8": ("colour cast",),
    "gaussian_blur-0.15": ("blurred",),
    "gaussian_blur-0.45": ("blurred",),
    "motion_blur-0.5": ("blurred",),
    "low_resolution-0.6": ("blurred",),
    "gaussian_noise-0.6": ("noisy",),
    "jpeg-0.75": ("compressed: 8-px blocks show",),
    "overexposure-0.7": ("too bright",),
    "underexposure-0.6": ("too dark",),
    "low_contrast-0.8": ("flat contrast",),
}


@pytest.mark.parametrize("path", sorted(FACES.glob("*.png")), ids=lambda path: path.stem)
def test_every_example_gets_the_reason_that_one_sees(path) -> None:
    factors = factors_of(read_rgb(path))
    assert words_of(factors, load_reference(SIDE)) == REASON_OF_EXAMPLE[path.stem]


def test_the_stored_reference_serves_every_input_side() -> None:
    for side in (128, 384, 640, 1024):
        reference = load_reference(side)
        assert reference.side_px == side
        assert "145 people" in reference.description
        for quantiles in reference.quantiles.values():
            assert len(quantiles) == 101
            assert list(quantiles) == sorted(quantiles)
    assert load_reference(128).quantiles == load_reference(384).quantiles
    assert load_reference(384).quantiles != load_reference(640).quantiles


NAMES = tuple(dict.fromkeys(cause.factor for cause in CAUSES))
PLAIN = FactorReference(
    description="even from 0 to 1",
    side_px=640,
    quantiles=dict.fromkeys(NAMES, tuple(np.linspace(0, 1, 101).tolist())),
    good=dict.fromkeys(NAMES, (0.3, 0.7)),
)
FINE = Factors(**dict.fromkeys(NAMES, 0.5), face_px=640)


def words_of(
    factors: Factors,
    reference: FactorReference = PLAIN,
    score: float = 0.5,
    own_px: int | None = None,
) -> tuple[str, ...]:
    return tuple(reason.words for reason in explain(factors, reference, score, own_px))


def test_a_fine_photo_has_no_reason() -> None:
    assert words_of(FINE) == ()


def test_the_most_extreme_reason_comes_first() -> None:
    bad = replace(FINE, noise=0.95, contrast=0.01, blockiness=0.92)
    words = ("flat contrast", "noisy", "compressed: 8-px blocks show")
    assert words_of(bad) == words
    assert words_of(replace(bad, blockiness=0.99))[0] in ("flat contrast", words[2])


def test_brightness_can_be_wrong_at_both_ends() -> None:
    assert words_of(replace(FINE, brightness=0.01)) == ("too dark",)
    assert words_of(replace(FINE, brightness=0.99)) == ("too bright",)


def test_what_good_photos_show_too_is_no_reason() -> None:
    lenient = replace(PLAIN, good=dict.fromkeys(NAMES, (0.0, 1.0)))
    assert words_of(replace(FINE, noise=0.95, contrast=0.01), lenient) == ()


@pytest.mark.parametrize(
    ("face_px", "words"), [(96, ("small photo: 96 px enlarged to 640",)), (320, ()), (4000, ())]
)
def test_a_face_enlarged_more_than_twice_is_small(face_px: int, words: tuple[str, ...]) -> None:
    assert words_of(replace(FINE, face_px=face_px)) == words


def test_a_tiny_face_comes_before_slight_noise() -> None:
    tiny = replace(FINE, face_px=40, noise=0.91)
    assert words_of(tiny) == ("small photo: 40 px enlarged to 640", "noisy")


def test_blocks_that_reducing_hides_are_no_reason() -> None:
    blocky = replace(FINE, blockiness=0.99)
    assert words_of(replace(blocky, face_px=1280)) != ()
    assert words_of(replace(blocky, face_px=1281)) == ()


def test_a_detected_face_is_small_by_its_own_pixels() -> None:
    (words,) = words_of(replace(FINE, face_px=96), own_px=58)
    assert words == "small face: 58 px, its square 96 px enlarged to 640"


def test_under_a_good_score_only_extreme_causes_are_named() -> None:
    grainy, very_grainy = (replace(FINE, noise=noise) for noise in (0.95, 0.99))
    assert words_of(grainy, score=0.79) == words_of(very_grainy, score=0.79) == ("noisy",)
    assert words_of(grainy, score=0.8) == ()
    assert words_of(very_grainy, score=0.8) == ("noisy",)


def test_a_poor_score_without_a_reason_says_that_none_was_measured() -> None:
    assert words_of(FINE, score=0.4) == ()
    (reason,) = explain(FINE, PLAIN, 0.39)
    assert reason == ("", "no single cause was measured")


def test_every_cause_has_its_own_code() -> None:
    codes = [cause.reason.code for cause in CAUSES]
    assert codes == [
        *("blurred", "noisy", "blocky", "dark", "bright", "flat", "colour_cast", "uneven_light")
    ]
    (small,) = explain(replace(FINE, face_px=40), PLAIN, 0.5)
    assert small.code == "small"


def test_a_gray_photo_has_no_cast_and_a_tinted_one_has(face: RGB) -> None:
    gray = to_gray(face)
    assert measure_colour_cast(gray) == pytest.approx(0, abs=0.05)
    tinted = scale_light(gray, np.array([1.5, 1.0, 0.6]))
    assert measure_colour_cast(tinted) > 8


@pytest.mark.parametrize("turns", range(4))
def test_light_from_any_side_is_uneven(turns: int) -> None:
    slope = np.tile(np.linspace(20, 200, 128, dtype=np.float32), (128, 1))
    assert measure_uneven_light(np.rot90(slope, turns)) > 2
    assert measure_uneven_light(np.full((128, 128), 90, dtype=np.float32)) == 0
