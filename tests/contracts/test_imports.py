"""The import direction: tsme <- tune <- workflows, and tsme works where Ray and MLflow are absent."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "tsme": {"ray", "mlflow", "tune", "workflows", "optuna"},
    "tune": {"mlflow", "workflows"},
}
# Uses of what Ray, MLflow and torch do not export, by file. The code gives the reason for each.
INTERNALS = {
    ("tsme/models/inference.py", "torch.nn.modules.batchnorm._BatchNorm"),
    ("tune/ray_internals.py", "error.__context__"),
    ("tune/ray_internals.py", "tuner._local_tuner"),
    ("tune/ray_internals.py", "tuner._local_tuner._tune_config"),
    ("workflows/cluster/trainer.py", "ray.train.v2._internal.callbacks"),
    ("workflows/cluster/trainer.py", "ray.train.v2._internal.callbacks.placement_group_callback"),
    ("workflows/cluster/trainer.py", "ray.train.v2.api.data_parallel_trainer"),
    ("workflows/cluster/trainer.py", "super()._create_default_callbacks"),
    ("workflows/tracking/server.py", "error.__context__"),
}
# Methods of named tuples, and names of Python's own.
PUBLIC = {"_asdict", "_fields", "_make", "_replace", "__file__", "__init__", "__name__", "__setattr__"}


def imports(path: Path) -> set[str]:
    """All modules a file imports, at any depth, by full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def sources(package: str) -> list[Path]:
    return [p for p in sorted((ROOT / package).rglob("*.py")) if p.name != "__main__.py"]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_only_downwards(package: str):
    files = sources(package)
    assert files
    for file in files:
        roots = {name.partition(".")[0] for name in imports(file)}
        assert not roots & FORBIDDEN[package], file


def test_only_tracking_imports_mlflow():
    found = {
        file.relative_to(ROOT).parent
        for package in ("tsme", "tune", "workflows")
        for file in sources(package)
        if any(name.partition(".")[0] == "mlflow" for name in imports(file))
    }
    assert found == {Path("workflows/tracking")}


def test_internals_of_libraries_are_used_where_listed():
    found = {
        (str(file.relative_to(ROOT)), name)
        for package in ("tsme", "tune", "workflows")
        for file in sources(package)
        for name in private_names(file)
    }
    assert found <= INTERNALS


def private_names(path: Path) -> set[str]:
    """Modules that a library does not export, and attributes of other objects that begin with _."""
    own = ("tsme", "tune", "workflows", "__future__")
    names = {
        name
        for name in imports(path)
        if not name.startswith(own)
        and any(part.startswith("_") or part == "v2" for part in name.split("."))
    }
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{a.name}" for a in node.names if a.name.startswith("_")}
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr not in PUBLIC:
            owner = ast.unparse(node.value)
            names |= {f"{owner}.{node.attr}"} if owner not in ("self", "cls") else set()
    return names


@pytest.mark.parametrize("part", ["data", "models", "losses.py", "evaluation"])
def test_the_method_does_not_import_training(part: str):
    place = ROOT / "tsme" / part
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert files
    for file in files:
        assert not any(name.startswith("tsme.training") for name in imports(file)), file


def test_data_do_not_import_the_generator_of_synthetic_data():
    for file in sorted((ROOT / "tsme" / "data").rglob("*.py")):
        assert not any(name.startswith("tsme.synthetic") for name in imports(file)), file


def test_losses_know_no_networks():
    assert not any(name.startswith("tsme.models") for name in imports(ROOT / "tsme" / "losses.py"))


def test_tsme_imports_where_ray_and_mlflow_cannot_be():
    program = """
import importlib, pkgutil, sys
for name in ("ray", "mlflow", "optuna", "typer", "pyarrow"):
    sys.modules[name] = None  # importing it raises ImportError
import tsme
for module in pkgutil.walk_packages(tsme.__path__, "tsme."):
    importlib.import_module(module.name)
print("imported")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "imported", done.stderr


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("tsme", "torch numpy pydantic ray mlflow pandas"),
        ("workflows.cli.main", "torch ray mlflow pandas"),  # tsme --help
        ("workflows.cli.output, tsme.report.tables", "torch ray mlflow pandas"),  # a finished demo
        ("tsme.synthetic", "torch ray mlflow pandas"),  # each of the processes that draw people
        ("workflows.cluster.failures", "torch mlflow tsme.training.stages"),  # Ray Train's controllers
        ("workflows.cluster.trainer", "mlflow tsme.training.stages"),  # and those of several workers
    ],
)
def test_what_starts_at_once_imports_nothing_heavy(modules: str, heavy: str):
    program = f"import sys, {modules}; print(sorted({{*'{heavy}'.split()}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr or done.stdout


def test_tsme_exports_what_it_names():
    program = """
import tsme
from tsme import evaluate, load_model, presets
import tsme.evaluation, tsme.models.checkpoint, tsme.presets
assert evaluate is tsme.evaluation.evaluate and load_model is tsme.models.checkpoint.load_model
assert presets is tsme.presets and presets.demo().dataset == "regdb"
assert not hasattr(tsme, "nothing_of_this_name")
print(*tsme.__all__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["evaluate", "load_model", "presets"], done.stderr
