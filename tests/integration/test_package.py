"""The sdist and the wheel: complete, and working in an environment without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("tsme", "tune", "workflows")
SCRIPTS = Path(sys.executable).parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uv() -> str:
    """The uv of this environment, or that of the system."""
    found = shutil.which("uv", path=f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}")
    return found or (pytest.fail if os.environ.get("CI") else pytest.skip)("uv is not installed")


@pytest.fixture(scope="module")
def built(uv: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An sdist of the tracked files, and a wheel built from the sdist."""
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    subprocess.run([uv, "build", "--out-dir", out, checkout], check=True)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def tracked() -> list[str]:
    """Files of the repository, as git knows them."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_all_files_of_the_packages_are_in_both(built: tuple[Path, Path]):
    sdist, wheel = built
    expected = {name for name in tracked() if name.split("/")[0] in PACKAGES}
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert expected | {"README.md", "LICENSE", "pyproject.toml"} <= packed


def test_the_wheel_works_in_a_clean_environment(uv: str, built: tuple[Path, Path], tmp_path: Path):
    """Installed alone, outside of the checkout, without this environment's variables for Python."""
    python = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([uv, "venv", "--python", sys.executable, tmp_path / "venv"], check=True)
    constraints = ["--constraint", ROOT / "constraints.txt"]
    subprocess.run([uv, "pip", "install", "--python", python, *constraints, built[1]], check=True)

    def tsme(*arguments: str) -> str:
        command = [python.with_name("tsme"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Usage" in tsme("--help")
    tsme("data", "synth", "data", "--ids", "4", "--images", "2")
    assert "no faults" in tsme("data", "check", "--dataset", "regdb", "data")
