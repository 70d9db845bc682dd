"""What a run was made with: config, code, versions, devices."""

import datetime
import importlib.metadata
import json
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax

from amvur_jax.files.places import place
from amvur_jax.files.whole import write_json
from mano_jax.errors import MALFORMED

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def git_revision() -> str | None:
    """The commit of this code, with "+changes" where files differ from it; None outside a checkout."""
    folder = pathlib.Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder.parent))
        return git("rev-parse", "HEAD").strip() + ("+changes" if changed.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def launch(step: int) -> dict[str, Any]:
    """What is to be known of a start at a step."""
    devices = jax.devices()
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "from_step": step,
        "command": sys.argv,
        "git": git_revision(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "devices": {"kind": devices[0].device_kind, "count": len(devices)},
        "processes": jax.process_count(),
    }


def write_manifest(workdir: str | pathlib.Path, config: Mapping[str, Any], step: int) -> None:
    """Write workdir/manifest.json, whole or not at all: the config, and every launch of the run so far.

    Raises:
      UserError: the folder cannot be written to.
    """
    path = place(workdir) / "manifest.json"
    try:
        launches = json.loads(path.read_text())["launches"] if step and path.exists() else []
    except (OSError, *MALFORMED):
        launches = []  # a damaged record of the past is no reason not to go on
    write_json(path, {"config": config, "launches": [*launches, launch(step)]})
