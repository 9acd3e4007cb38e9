"""What people install: the wheel, built from the sdist, alone in an empty environment."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import ORIGINAL, ROOT
from golden.renew import GOLDEN

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_wheel_scores_without_torch(tmp_path: Path) -> None:
    """`python -m build` makes the wheel from the sdist, so both are tried."""
    run(sys.executable, "-m", "build", ROOT, "--outdir", tmp_path / "dist", cwd=tmp_path)
    (sdist,), (wheel,) = ((tmp_path / "dist").glob(f"*.{form}") for form in ("tar.gz", "whl"))
    assert wheel.name.startswith("mspt_face-")
    assert wheel.stat().st_size < 8e6
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"src", "tests", "README.md", "LICENSE"} <= tops
    assert not tops & {"data", "out", ".ci"}

    run(sys.executable, "-m", "venv", tmp_path / "fresh", cwd=tmp_path)
    binaries = tmp_path / "fresh" / ("Scripts" if sys.platform == "win32" else "bin")
    constraints = ROOT / "constraints.txt"
    run(binaries / "python", "-m", "pip", "install", "-q", "-c", constraints, wheel, cwd=tmp_path)
    shown = run(binaries / "mspt", "score", ORIGINAL, cwd=tmp_path)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["faces"]["original.png"]["score"]
    assert float(shown.split()[0]) == pytest.approx(golden, abs=1e-3)
    listed = run(binaries / "python", "-m", "pip", "list", cwd=tmp_path)
    assert not {"torch", "opencv-python-headless", "openvino"} & set(listed.split())
    report = (binaries / "mspt", "report", "s.csv", "-o", "r.html")
    run(binaries / "mspt", "score", ORIGINAL, "-o", "s.csv", cwd=tmp_path)
    run(*report, cwd=tmp_path)
    assert (tmp_path / "r.html").stat().st_size > 5000
