"""What several commands ask in the same words, and how the answers are read."""

import math
import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mspt.errors import ConfigError, MissingExtraError
from mspt.limits import MAX_BYTES, MAX_PIXELS

if TYPE_CHECKING:
    from mspt.inference.faces import FaceSearch

Command = TypeVar("Command", bound=Callable[..., object])

BACKEND_HELP = "auto, onnxruntime, or openvino (extra [fast]); auto: openvino in bf16 if it agrees."
MODEL_HELP = "Embedded model's name, or an .onnx file."
DETECTOR_HELP = "YuNet file; default: $MSPT_DETECTOR, or what `mspt detector fetch` got."
TRUST_HELP = "Take a detector's file that is not known."
SCALE_HELP = "WORST,BEST of the labels as written."


def quoted(text: str) -> str:
    """Return a word as this system's shells take it."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


class Named(click.Path):
    """A path that has a name: an empty shell variable is not the working directory."""

    def __init__(self, **how: Any) -> None:  # noqa: ANN401 - as click declares them
        super().__init__(path_type=Path, **how)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Return the path; "" is refused."""
        if not os.fspath(value):
            self.fail("the name is empty; is a shell variable not set?", param, ctx)
        return super().convert(value, param, ctx)


class Finite(click.FloatRange):
    """A number in a range; `nan` lies in none."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


MAX_MEGAPIXELS = click.option(
    "--max-megapixels",
    type=Finite(0, MAX_PIXELS / 1e6, min_open=True),
    default=MAX_PIXELS / 1e6,
    show_default=True,
    help="Of one photo; larger: too_large.",
)


def max_image_option(default: int) -> Callable[[Command], Command]:
    """Return the option that bounds a photo's bytes."""
    return click.option(
        "--max-image",
        type=click.IntRange(1, MAX_BYTES // 2**20),
        default=default,
        show_default=True,
        help="MiB of one photo.",
    )


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install when something inside finds a package missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(name, error) from error


def read_conditions(where: Iterable[str]) -> dict[str, str]:
    """Read `--where COLUMN=VALUE` options.

    Raises:
        ConfigError: if one is of another form.
    """
    conditions = {}
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition!r} is not of the form COLUMN=VALUE")
        conditions[column] = value
    return conditions


def read_scale(text: str) -> tuple[float, float]:
    """Read `--mos-scale WORST,BEST`.

    Raises:
        ConfigError: if it is of another form, or both are the same.
    """
    try:
        worst, best = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--mos-scale {text!r} is not of the form WORST,BEST") from error
    if worst == best:
        raise ConfigError(f"--mos-scale {text!r}: worst and best are the same")
    return worst, best


def report_gaps(rows: int) -> None:
    """Say how many rows of a list name no photo."""
    click.echo(f"{rows} rows of the list name no photo: their cells are empty", err=True)


def read_face_options(
    detect: bool, detector: Path | None, max_faces: int | None, min_face: int
) -> "FaceSearch | None":
    """Return what is asked of faces; None where photos are scored as a whole.

    Raises:
        ConfigError: if something is asked of faces without --detect.
    """
    from mspt.inference.faces import FaceSearch

    if not detect:
        for name, given in (
            ("--detector", detector),
            ("--max-faces", max_faces),
            ("--min-face", min_face),
        ):
            if given:
                raise ConfigError(f"{name} {given} is about faces; add --detect")
        return None
    return FaceSearch(max_faces=max_faces, min_face_px=min_face)
