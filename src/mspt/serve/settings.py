"""What an operator may set: limits, names of models, who may ask.

In:   the options of `mspt serve`, or their JSON in $MSPT_SERVE, which worker processes inherit.
Out:  Settings.
"""

import dataclasses
import json
import os
import re
from dataclasses import dataclass

from mspt.errors import ConfigError
from mspt.inference.session import Backend
from mspt.limits import MAX_PIXELS

SETTINGS_VARIABLE = "MSPT_SERVE"
TOKEN_VARIABLE = "MSPT_TOKEN"
MIB = 2**20
# As browsers write them; `null` are pages from files and from sandboxes.
_ORIGIN = re.compile(
    r"\*|null|(?!http://[^/]*:80$|https://[^/]*:443$)[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server serves; sizes in bytes, times in seconds."""

    model: str = "base"
    backend: Backend = "auto"
    detector: str | None = None
    trust_detector: bool = False
    threads: int = 0  # photos scored at once in a process; 0: all cores
    isolate: bool = False  # score each photo in a process that may be killed
    max_body: int = 64 * MIB  # of a request
    max_image: int = 32 * MIB  # of one photo
    max_pixels: int = MAX_PIXELS  # of one photo
    max_batch: int = 64  # photos a request
    max_waiting: int = 64  # requests that may wait; more are told to come back
    max_per_client: int = 16  # requests of one address at a time
    max_faces: int = 32  # scored of a photo, the largest
    timeout_s: float = 30.0  # for a body to arrive, and for a photo to be scored
    cors_origins: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could be served."""
        limits = (
            "max_body",
            "max_image",
            "max_batch",
            "max_waiting",
            "max_per_client",
            "max_faces",
        )
        for name in limits:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"{origin}: pages come from an origin such as https://photos.example or "
                    "http://localhost:3000, in lower case, without a path or a slash at its end, "
                    "and without a usual port; * alone is all of them"
                )
        if not self.timeout_s > 0:
            raise ConfigError(f"timeout_s is {self.timeout_s}, but must be above 0")

    def export(self) -> None:
        """Put the settings where worker processes find them."""
        os.environ[SETTINGS_VARIABLE] = json.dumps(dataclasses.asdict(self))

    @classmethod
    def inherited(cls) -> "Settings":
        """Return what `export` put there, or the defaults.

        Raises:
            ConfigError: if the variable holds something else.
        """
        text = os.environ.get(SETTINGS_VARIABLE, "{}")
        try:
            known = json.loads(text)
            known["cors_origins"] = tuple(known.get("cors_origins", ()))
            kinds = {float: (float, int), type(None): (str, type(None))}
            for name, default in dataclasses.asdict(cls()).items():
                value = known.get(name, default)
                if type(value) not in kinds.get(type(default), (type(default),)):
                    raise TypeError(f"{name} is {value!r}, not like {default!r}")
            return cls(**known)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"${SETTINGS_VARIABLE}: {error}; it holds JSON of Settings"
            ) from error


def token() -> str:
    """Return the token that clients must show; "" where everybody may ask."""
    return os.environ.get(TOKEN_VARIABLE, "")
