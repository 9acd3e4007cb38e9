"""Write docs/python.md from the public names' source: `make docs`. A test compares the two."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("python.md")
WIDTH = 96
HEAD = """# Everything in Python

Written by `make docs` from the docstrings. [README.md](../README.md) has the first lines to try;
[use-scores.md](use-scores.md) and [train-your-own.md](train-your-own.md) have more.
"""
NAMES = {
    "mspt": [
        *("load", "Scorer", "FaceSearch", "QualityScore", "Scored", "FaceBox", "Factors"),
        "errors",
    ],
    "mspt.scores": import_module("mspt.scores").__all__,
    "mspt.torch": ["load_metric", "QualityMetric"],
    "mspt.cluster": ["score"],
}


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for module, names in NAMES.items():
        parts.append(f"## {module}\n")
        for name in names:
            about = "\n\n".join(_describe(_find(module, name)))
            parts.append(f"### {module}.{name}\n\n```text\n{about}\n```\n")
    return "\n".join(parts)


def _find(module: str, name: str) -> Any:  # noqa: ANN401 - modules, classes, functions
    home = import_module(module)
    return import_module(f"{module}.{name}") if name == "errors" else getattr(home, name)


def _describe(what: Any) -> Iterator[str]:  # noqa: ANN401 - modules, classes, functions
    """Yield what a public name says of itself, in paragraphs."""
    if inspect.ismodule(what):
        yield inspect.getdoc(what) or ""
        return
    lines = inspect.getsource(what).splitlines()
    node = ast.parse("\n".join(lines)).body[0]
    if isinstance(node, ast.FunctionDef):
        yield _describe_function(node, lines)
    elif isinstance(node, ast.ClassDef):
        yield ast.get_docstring(node) or ""
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        if fields:  # with what is said of them at the line's end
            yield "\n".join(lines[field.lineno - 1].strip() for field in fields)
        yield from (_describe_function(n, lines, node.name) for n in _methods_of(node))


def _methods_of(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Yield the methods that users call; classmethods are mspt's own."""
    for part in node.body:
        if not isinstance(part, ast.FunctionDef) or "classmethod" in _decorators(part):
            continue
        if part.name == "__init__" or not part.name.startswith("_"):
            yield part


def _decorators(node: ast.FunctionDef) -> list[str]:
    return [ast.unparse(decorator) for decorator in node.decorator_list]


def _describe_function(node: ast.FunctionDef, lines: list[str], owner: str = "") -> str:
    """Return signature, as it was written, and docstring."""
    head = lines[node.lineno - 1 : node.body[0].lineno - 1]
    written = " ".join(line.split("#")[0].strip() for line in head)
    signature = re.sub(r",? \)", ")", written.removeprefix("def ").removesuffix(":"))
    for word, better in (("( ", "("), ("(self, ", "("), ("(self)", "()")):
        signature = signature.replace(word, better)
    if node.name == "__init__":
        signature = signature.replace("__init__", owner).removesuffix(" -> None")
    elif "property" in _decorators(node):
        signature = f".{signature.replace('()', '')}"
    elif owner:
        signature = "." + signature.replace(f'"{owner}"', owner)
    wrapped = textwrap.fill(signature, WIDTH, subsequent_indent=" " * 8, break_long_words=False)
    return f"{wrapped}\n{textwrap.indent(ast.get_docstring(node) or '', '    ')}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
