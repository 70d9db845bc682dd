"""The lower bounds of pyproject.toml are the versions that CI tests with."""

import pathlib
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = PROJECT["dependencies"] + [
    requirement
    for extra in ("dev", "detect", "export", "app", "clients")
    for requirement in EXTRAS[extra]
]


def versions(lines, operator):
    """The version that follows the operator, by the package's canonical name."""
    found = {}
    for requirement in map(Requirement, lines):
        (version,) = (s.version for s in requirement.specifier if s.operator == operator)
        found[canonicalize_name(requirement.name)] = Version(version)
    return found


def test_the_versions_that_ci_installs_are_the_lower_bounds():
    lines = (ROOT / ".ci" / "lowest.txt").read_text().splitlines()
    pinned = versions((line for line in lines if not line.startswith("#")), "==")
    assert pinned == versions(DECLARED, ">=")
