"""The arrows between packages point one way, and each heavy library has one place."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def imported(path):
    """Top-level names of all modules that a file imports, whole and cut at the first dot."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ["mano_jax", "render"])
def test_libraries_need_only_jax_and_numpy(package):
    allowed = {"jax", "numpy", package} | set(sys.stdlib_module_names)
    foreign = {path.name: imported(path) - allowed for path in files(package)}
    assert not {name: names for name, names in foreign.items() if names}


def test_amvur_does_not_import_scripts_or_configs():
    assert not any(imported(path) & {"scripts", "configs", "tests"} for path in files("amvur_jax"))


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("orbax", {"checkpoint.py"}),
        ("torch", {"convert_torch.py", "torch_network.py"}),
        ("tensorflow_datasets", {"records.py"}),
        ("array_record", {"records.py"}),
    ],
)
def test_one_place_for(library, homes):
    users = [
        p for package in ("amvur_jax", "mano_jax", "render", "scripts") for p in files(package)
    ]
    assert {p.name for p in users if library in imported(p)} <= homes
