"""The Makefile: its targets, what each of them installs, and one clear line for what stops the set-up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ["help", "demo", "test", "test-all", "lint", "clean"]
# Programs of the system that the set-up calls; uv is not among them.
TOOLS = ["make", "sh", "awk", "sed", "head", "uname", "mkdir", "touch", "echo", "test", "cat", "chmod"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and the files it depends on, and the tools in `bin/`; disk space is ample."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(
            shutil.which(tool) or pytest.fail(f"{tool} is not installed")
        )
    program(tmp_path, "df", "echo header; echo disk 99999999 0 99999999 0% /")
    return tmp_path


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` with the programs in `bin/` alone."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "UV_"))
    }
    environment = {**inherited, "PATH": str(checkout / "bin"), "LC_ALL": "C"}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)


def program(checkout: Path, name: str, script: str) -> None:
    """A shell script in `bin/`, in the place of the system's program."""
    path = checkout / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


# A Python that is recent enough and makes an environment whose pip cannot install anything.
PYTHON = """
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cat > "$3/bin/python" <<'END'
#!/bin/sh
case "$*" in *install*) echo "ERROR: no matching distribution" >&2; exit 1 ;; esac
END
  chmod +x "$3/bin/python" ;;
esac
"""


def problem(checkout: Path, *arguments: str) -> str:
    """The line with which `make demo` fails; it is the only one of the Makefile's own."""
    done = make(checkout, "demo", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = re.findall(r"^make: (?!\*\*\*|Entering|Leaving)(.*)$", done.stderr, re.MULTILINE)
    return line


def test_make_alone_lists_the_targets(checkout: Path):
    done = make(checkout)
    assert done.returncode == 0 and not done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == TARGETS


@pytest.mark.parametrize(
    ("target", "packages"), [("demo", "."), ("test", "'.[dev]'"), ("lint", "'.[dev]'")]
)
def test_a_target_installs_what_it_needs(checkout: Path, target: str, packages: str):
    program(checkout, "python3", PYTHON)
    planned = make(checkout, "--dry-run", target).stdout
    assert re.findall(r"--editable (\S+)", planned) == [packages]
    assert "--constraint constraints.txt" in planned and "--quiet" not in planned
    assert "--torch-backend" not in planned


def test_torch_backend_is_handed_to_uv(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    program(checkout, "python3", PYTHON)
    monkeypatch.setenv("TORCH_BACKEND", "cpu")
    assert "--torch-backend cpu" in make(checkout, "--dry-run", "demo").stdout


def test_a_uv_on_the_path_is_used(checkout: Path):
    program(checkout, "python3", PYTHON)
    program(
        checkout,
        "uv",
        'echo "uv $*"; case "$1" in venv) mkdir -p .venv/bin; echo "#!/bin/sh" > .venv/bin/python; '
        "chmod +x .venv/bin/python ;; esac",
    )
    program(checkout, "tsme", "")
    done = make(checkout, ".venv/installed")
    assert done.returncode == 0, done.stderr
    called = [line for line in done.stdout.splitlines() if line.startswith("uv ")]
    assert called == [
        "uv venv --seed --allow-existing --python python3 .venv",
        "uv pip install --python .venv/bin/python --constraint constraints.txt --editable .",
    ]
    assert "up to date" in make(checkout, ".venv/installed").stdout


def test_settings_of_pip_are_handed_to_uv(checkout: Path):
    """pip lists variables, then files: the first one counts. Several extra indexes come on one line."""
    program(checkout, "python3", PYTHON)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    settings = [":env:.index-url='https://one/simple'", "global.index-url='https://two/simple'",
                r"global.extra-index-url='https://three/simple\nhttps://four/simple'"]  # fmt: skip
    (checkout / "settings").write_text("\n".join(settings))
    program(checkout, "../.venv/bin/python", 'test "$3" = config && cat settings')
    program(checkout, "../.venv/bin/uv", 'echo "$UV_DEFAULT_INDEX, $UV_INDEX"')
    done = make(checkout, ".venv/installed")
    assert "https://one/simple, https://three/simple https://four/simple" in done.stdout


@pytest.mark.parametrize("python", ["exit 1", None])
def test_a_python_that_is_too_old_or_missing(checkout: Path, python: str | None):
    if python:
        program(checkout, "python3", python)
    assert problem(checkout) == (
        "Python 3.11 or later is needed; install it, or name one: make PYTHON=/path/to/python3.12"
    )
    assert not (checkout / ".venv").exists()


def test_packages_that_do_not_work(checkout: Path):
    program(checkout, "python3", PYTHON)
    program(
        checkout,
        "uv",
        'case "$1" in venv) mkdir -p .venv/bin; ln -s ../../bin/py .venv/bin/python ;; esac',
    )
    program(checkout, "py", "echo 'OSError: libgomp.so.1' >&2; exit 1")
    program(checkout, "ln", '/bin/ln "$@"')
    assert problem(checkout).startswith("the installed packages do not work, for the reason above")


def test_a_later_python_is_found_beside_an_old_one(checkout: Path):
    program(checkout, "python3", "exit 1")
    program(checkout, "python3.12", PYTHON)
    assert "with python3.12" in make(checkout, "demo").stdout


def test_a_python_without_venv(checkout: Path):
    program(checkout, "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    assert problem(checkout).startswith("python3 has no venv module; install it")


def test_too_little_room(checkout: Path):
    program(checkout, "python3", PYTHON)
    program(checkout, "df", "echo header; echo disk 9999999 5800000 4000000 60% /")
    program(checkout, "uname", "echo Linux")
    assert problem(checkout).startswith("installing takes 7 GB of disk, of which 3 GB are free here")
    assert "no installation" in problem(checkout, "TORCH_BACKEND=cpu")


def test_a_folder_that_cannot_be_written(checkout: Path):
    program(checkout, "python3", PYTHON)
    (checkout / ".venv").touch()
    assert problem(checkout).startswith(".venv cannot be written")


def test_an_index_that_does_not_answer(checkout: Path):
    program(checkout, "python3", PYTHON)
    assert problem(checkout).startswith("no installation, for the reason above; a proxy is named by")
