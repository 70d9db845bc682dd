"""The documents: their Python runs, what they point to exists, and each promise has its test."""

import ast
import re

import numpy as np
import pytest
from documents import ROOT, python_blocks

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)


def run(code):
    names = {}
    exec(compile(code, "document", "exec"), names)
    return names


def test_the_hand_of_the_readme_is_drawn():
    found = run(python_blocks("README.md")[1])
    # it fills a part of the picture about the principal point, in white light: no colour but grey
    assert found["image"].shape == (224, 224, 3) and 0.01 < np.mean(found["mask"]) < 0.5
    assert found["mask"][112 - 40 : 112 + 40, 112 - 40 : 112 + 40].any()
    np.testing.assert_allclose(found["image"][..., 0], found["image"][..., 2], atol=1e-6)


def test_the_triangle_of_the_renderers_document_is_drawn_and_has_a_gradient():
    found = run(python_blocks("docs/render.md")[0])
    assert found["image"].shape == (128, 128, 3) and found["mask"].any()
    # the target lies to the right: every vertex is to move there, against the gradient
    assert found["gradient"].shape == (3, 3) and (np.asarray(found["gradient"][:, 0]) < 0).all()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_points_to_exists(name):
    place = (ROOT / name).parent
    text = (ROOT / name).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert all((place / link).exists() for link in links), links
    roots = ("amvur_jax", "benchmarks", "configs", "mano_jax", "render", "scripts", "tests")
    paths = re.findall(rf"`((?:{'|'.join(roots)})/[\w/.]+\.\w+)`", text)
    missing = [p for p in paths if not p.endswith("/X.py") and not (ROOT / p).exists()]
    assert not missing


def named_in(path):
    """The names of the tests in a file."""
    nodes = ast.parse((ROOT / path).read_text()).body
    return {n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}


def test_every_promise_has_a_test_that_exists():
    text = (ROOT / "docs/promises.md").read_text()
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    promises = [
        (promise, test) for promise, test in rows if promise.strip() not in ("promise", "---")
    ]
    assert len(promises) > 100
    for promise, tests in promises:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named, promise
        for path, test in named:
            assert test in named_in(f"tests/{path}"), f"{path}::{test} of: {promise}"
