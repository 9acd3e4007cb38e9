"""/docs: the interface as one page of plain HTML, made of the OpenAPI description.

FastAPI's own page fetches its script from elsewhere; this one fetches nothing.
"""

import json
from importlib import resources
from typing import Any

import jinja2


def docs_page(described: dict[str, Any]) -> str:
    """Return the page of an OpenAPI description."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    text = resources.files("mspt.serve").joinpath("docs.html").read_text("utf-8")
    template = environment.from_string(text)
    return template.render(**described, pretty=lambda value: json.dumps(value, indent=2))
