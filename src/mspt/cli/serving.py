"""`mspt serve`: scoring over HTTP, and the page."""

import os
import socket
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.request import urlopen

import click

from mspt.cli.options import (
    BACKEND_HELP,
    DETECTOR_HELP,
    MAX_MEGAPIXELS,
    MODEL_HELP,
    TRUST_HELP,
    Finite,
    Named,
    extra,
    max_image_option,
)
from mspt.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from mspt.inference.session import Backend

_COMMANDLINE = click.core.ParameterSource.COMMANDLINE
_LOCAL = ("127.0.0.1", "::1", "localhost")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where this machine itself asks
_MIB = 2**20
_READY_S = 60  # until which the server should answer
_COUNT = click.IntRange(1)
_SECONDS = Finite(0, min_open=True)
_OF_SITE = {"site", "detector", "max_faces", "max_megapixels"}


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--site",
    type=Named(file_okay=False),
    metavar="DIR",
    help="Write the page that scores in the browser as plain files, and stop.",
)
@click.option("--model", default="base", show_default=True, help=MODEL_HELP)
@click.option("--backend", default="auto", show_default=True, help=BACKEND_HELP)
@click.option("--detector", type=Named(), help=DETECTOR_HELP)
@click.option("--trust-detector", is_flag=True, help=TRUST_HELP)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--threads", type=click.IntRange(1), help="Photos at once, in all; default: cores.")
@click.option("--isolate", is_flag=True, help="Score in processes, killed after --timeout.")
@click.option("--cors-origin", multiple=True, metavar="URL", help="Pages there may ask, too.")
@max_image_option(32)
@MAX_MEGAPIXELS
@click.option("--max-body", default=64, show_default=True, type=_COUNT, help="MiB of a request.")
@click.option(
    "--max-batch", default=64, show_default=True, type=_COUNT, help="Photos of a request."
)
@click.option(
    "--max-waiting", default=64, show_default=True, type=_COUNT, help="Requests that may wait."
)
@click.option(
    "--max-per-client", default=16, show_default=True, type=_COUNT, help="Of one address at a time."
)
@click.option("--max-faces", default=32, show_default=True, type=_COUNT, help="Scored of a photo.")
@click.option(
    "--timeout", default=30.0, show_default=True, type=_SECONDS, help="Seconds for a body, a photo."
)
def serve(
    host: str,
    port: int,
    open_page: bool,
    site: Path | None,
    model: str,
    backend: "Backend",
    detector: Path | None,
    trust_detector: bool,
    workers: int,
    threads: int | None,
    isolate: bool,
    cors_origin: tuple[str, ...],
    max_image: int,
    max_megapixels: float,
    max_body: int,
    max_batch: int,
    max_waiting: int,
    max_per_client: int,
    max_faces: int,
    timeout: float,
) -> None:
    """Serve scores over HTTP, and a page to drop photos on.

    Only this machine may ask, unless --host says otherwise. With $MSPT_TOKEN set, requests must
    show it. /docs describes the routes.
    """
    with extra("serve"):
        import uvicorn

        from mspt.serve.app import create_app
        from mspt.serve.device import known_detector, write_site
        from mspt.serve.settings import Settings, token
    from mspt.inference.faces import DETECTOR_VARIABLE, find_detector
    from mspt.parallel import usable_cores

    max_pixels = round(1e6 * max_megapixels)
    if site:
        _check_site_options()
        is_named = detector or os.environ.get(DETECTOR_VARIABLE)
        try:
            file = find_detector(detector) if is_named else known_detector(None)
        except ModelError as error:
            raise ModelError(f"--site gives browsers a known detector only: {error}") from error
        write_site(site, file, max_faces=max_faces, max_pixels=max_pixels)
        faces = "finds faces" if file else "scores centres (no detector here: mspt detector fetch)"
        click.echo(f"{site}: any web server can serve it; photos never leave the browser; {faces}")
        return
    if host not in _LOCAL and not token():
        click.echo(f"{host}: anybody who reaches this address may ask; set $MSPT_TOKEN", err=True)
    settings = Settings(
        model=model,
        backend=backend,
        detector=str(detector) if detector else None,
        trust_detector=trust_detector,
        threads=max(1, (threads or usable_cores()) // workers),
        isolate=isolate,
        cors_origins=cors_origin,
        max_image=max_image * _MIB,
        max_body=max_body * _MIB,
        max_pixels=max_pixels,
        max_batch=max_batch,
        max_waiting=max_waiting,
        max_per_client=max_per_client,
        max_faces=max_faces,
        timeout_s=timeout,
    )
    settings.export()
    app = create_app(settings)  # an error of the model's file shows now
    _check_port(host, port)
    click.echo(f"{_address(host, port)}  (Ctrl-C stops; accepted requests are finished)", err=True)
    if open_page:
        near = _address(_EVERYWHERE.get(host, host), port)
        Thread(target=_open_when_ready, args=[near], daemon=True).start()
    uvicorn.run(
        app if workers == 1 else "mspt.serve.app:create_app",
        factory=workers > 1,
        host=host,
        port=port,
        workers=workers,
        log_level="warning",
        access_log=False,  # app.py writes its own, without names
        server_header=False,
    )


def _check_site_options() -> None:
    """Refuse what a site of plain files would not keep."""
    context = click.get_current_context()
    others = [
        option.opts[0]
        for option in context.command.params
        if option.name not in _OF_SITE
        and context.get_parameter_source(str(option.name)) is _COMMANDLINE
    ]
    if others:
        raise ConfigError(
            f"{', '.join(others)}: says nothing of --site's plain files; leave it out"
        )


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _check_port(host: str, port: int) -> None:
    """Refuse a port that is taken: a browser would be shown what listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if os.name != "nt":  # there it would let two listen
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{_address(host, port)}: nobody can listen there: {error.strerror}; name another "
                "--port or --host"
            ) from error


def _open_when_ready(address: str) -> None:
    """Open the page once the server answers."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        with suppress(OSError), urlopen(f"{address}/healthz", timeout=5):
            webbrowser.open(address)
            return
        time.sleep(0.1)
