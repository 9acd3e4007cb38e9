"""The layers of ARCHITECTURE.md: a layer imports itself and lower ones; `import mspt` is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

import mspt

SRC = ROOT / "src/mspt"
ORDER = {
    "errors.py": 0,
    "results.py": 0,
    "spec.py": 0,
    "arrays.py": 0,
    "limits.py": 0,
    "files.py": 0,
    "parallel.py": 0,
    "budget.py": 0,
    "compat.py": 0,
    "image": 1,
    "inference": 2,
    "evaluation": 3,
    "scores": 4,
    "synthesis": 5,
    "training": 5,
    "torch.py": 6,
    "serve": 6,
    "cluster": 6,
    "cli": 7,
    "__init__.py": 6,
    "__main__.py": 8,
}
MODULES = sorted(SRC.rglob("*.py"))


def imported_names(path: Path) -> Iterator[str]:
    """Yield every absolute module or member that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str:
    """Return the room of `mspt.<room>...`: a folder, or a file at the top."""
    first = name.split(".")[1]
    return first if first in ORDER else f"{first}.py"


def violations(path: Path, room: str, names: Iterator[str]) -> list[str]:
    return [
        f"{path.name} ({room}) imports {name} ({room_of(name)})"
        for name in names
        if name.startswith("mspt.")
        and room_of(name) != room
        and ORDER[room_of(name)] >= max(ORDER[room], 1)  # files of layer 0 may use each other
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_point_downwards(path: Path) -> None:
    assert not violations(path, path.relative_to(SRC).parts[0], imported_names(path))


def test_the_layer_rule_notices_an_upward_and_a_sideways_import() -> None:
    path = Path("made_up.py")
    assert violations(path, "image", iter(["mspt.cli.main.main"]))
    assert violations(path, "training", iter(["mspt.synthesis.mos"]))
    assert not violations(path, "training", iter(["mspt.training.losses", "mspt.errors"]))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert text.count("\n") <= 400, f"{path} is too long to be read in one go"


HEAVY = {"torch", "ray", "cv2", "onnx", "scipy", "torchvision"}


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after running the code."""
    probe = f"{code}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_mspt_loads_nothing_heavy() -> None:
    assert not modules_after("import mspt") & (HEAVY | {"numpy", "onnxruntime", "PIL"})


def test_scoring_loads_neither_torch_nor_ray_nor_cv2() -> None:
    original = ROOT / "examples/faces/original.png"
    assert not modules_after(f"import mspt; mspt.load().score({str(original)!r})") & HEAVY


def test_the_probe_for_heavy_modules_sees_them() -> None:
    assert "scipy" in modules_after("import scipy")


def test_public_names_are_these() -> None:
    assert mspt.__all__ == [
        "ConfigError",
        "DataError",
        "DecodeError",
        "FaceBox",
        "FaceSearch",
        "Factors",
        "ImageError",
        "MissingExtraError",
        "MissingFileError",
        "ModelError",
        "MsptError",
        "QualityScore",
        "Scored",
        "Scorer",
        "__version__",
        "load",
    ]
    for name in mspt.__all__:
        assert getattr(mspt, name)
    with pytest.raises(AttributeError, match="no attribute 'scrore'"):
        _ = mspt.scrore  # type: ignore[attr-defined]
