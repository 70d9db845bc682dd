"""The arrows between packages, rooms and modules point one way, and each heavy library has one place."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# The rooms and files at the top of amvur_jax, each importing from those before it alone.
ORDER = (
    "errors",
    "files",
    "runtime",
    "models",
    "data",
    "detect",
    "checkpoint_stores",
    "checkpoint",
    "weights",
    "predictions",
    "pictures",
    "scoring",
    "training",
    "configuration",
    "inference",
    "hands",
    "labels",
    "exported",
    "published",
    "fitting",
    "score",
    "train",
    "report",
    "evaluate",
    "predict",
    "bulk",
    "label",
    "app",
    "export",
    "demo",
)


def imported(path):
    """Top-level names of all modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def files(package):
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def arrows():
    """{module of amvur_jax: those that it imports, not for their types alone}, by dotted names."""
    modules = {}
    for path in files("amvur_jax"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found = {}
    for module, path in modules.items():
        found[module] = set()
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("amvur_jax."):
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found[module] |= (whole & modules.keys()) or ({node.module} & modules.keys())
            elif isinstance(node, ast.ImportFrom) and node.module == "amvur_jax":
                whole = {f"amvur_jax.{alias.name}" for alias in node.names}
                found[module] |= whole & modules.keys()
    return found


def test_no_module_needs_itself():
    graph = arrows()
    assert sum(map(len, graph.values())) > 100
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises where there is a circle


def test_rooms_import_from_those_before_them():
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "amvur_jax").iterdir()}
    assert rooms - {"__init__", "__pycache__", "py.typed", "assets"} == set(ORDER)
    for module, others in arrows().items():
        if module == "amvur_jax":
            continue
        place = ORDER.index(module.split(".")[1])
        for other in others:
            assert ORDER.index(other.split(".")[1]) <= place, f"{module} imports {other}"


@pytest.mark.parametrize("package", ["mano_jax", "render"])
def test_libraries_need_only_jax_and_numpy(package):
    allowed = {"jax", "numpy", package} | set(sys.stdlib_module_names)
    foreign = {path.name: imported(path) - allowed for path in files(package)}
    assert not {name: names for name, names in foreign.items() if names}


def test_a_photograph_is_predicted_without_what_is_slow_to_import():
    slow = {"orbax", "scipy", "matplotlib", "grain", "tensorflow_datasets", "array_record"}
    code = (
        "import sys, amvur_jax.predict; from amvur_jax import inference;"
        "from amvur_jax.hands.reconstruct import Reconstructor; inference.load();"
        f"sys.exit(', '.join({slow} & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_amvur_does_not_import_what_is_not_installed():
    assert not any(imported(path) & {"benchmarks", "tests"} for path in files("amvur_jax"))


def test_nothing_imports_what_stands_beside():
    for module, others in arrows().items():
        for beside in ("amvur_jax.published", "amvur_jax.fitting"):
            inside = [other for other in others if other.startswith(beside)]
            assert not inside or module.startswith(beside), f"{module} imports {inside}"


def test_no_archive_is_unpacked():
    unpackers = {"extract", "extractall", "unpack_archive"}
    for path in [*files("amvur_jax"), *files("mano_jax"), *files("scripts")]:
        names = {
            n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
        }
        assert not names & unpackers, path


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("orbax", {"amvur_jax/checkpoint.py", "amvur_jax/checkpoint_stores.py"}),
        ("torch", {"amvur_jax/published/convert.py", "benchmarks/torch_network.py"}),
        # written for synthetic sets, read by nobody but the reader that runs no code
        (
            "pickle",
            {
                "amvur_jax/data/synthetic/ho3d_writer.py",
                "mano_jax/pickle_reader.py",
                "benchmarks/data.py",
            },
        ),
        ("tensorflow_datasets", {"amvur_jax/data/readers/records.py"}),
        ("array_record", {"amvur_jax/data/readers/records.py"}),
        ("gradio", {"amvur_jax/app.py"}),
        ("ai_edge_litert", {"amvur_jax/detect/networks.py"}),
        ("safetensors", {"amvur_jax/export.py", "amvur_jax/exported/loader.py"}),
        ("ray", {"amvur_jax/bulk/run.py"}),
        ("pyarrow", {f"amvur_jax/bulk/{name}.py" for name in ("run", "sources", "tables")}),
        ("jax2onnx", {"amvur_jax/exported/program.py"}),
    ],
)
def test_one_place_for(library, homes):
    packages = ("amvur_jax", "mano_jax", "render", "scripts", "configs", "benchmarks")
    users = {p for package in packages for p in files(package) if library in imported(p)}
    assert {str(p.relative_to(ROOT)) for p in users} == homes
