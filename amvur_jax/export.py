"""Write a trained network as one zip that needs none of this code: program, weights, and what they mean."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from pathlib import Path

import jax
import numpy as np

import amvur_jax
from amvur_jax.errors import UserError
from amvur_jax.exported import program as programs
from amvur_jax.exported.about import about
from amvur_jax.files.whole import explained, writing
from amvur_jax.inference import Predictor

_ROOM = Path(amvur_jax.__file__).parent
_LICENCE = _ROOM / "detect" / "assets" / "LICENSE"  # Apache-2.0's text, which is in the wheel
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes at any time


def check(output: Path, overwrite: bool, with_onnx: bool = False) -> None:
    """Refuse what `export` could not do, before anything is loaded.

    Raises:
      UserError: the output is no zip by its name, or there already; a library of the extra is missing, or
        it does not work with this jax.
    """
    if output.suffix != ".zip":
        raise UserError(f"--output={output}: give a file that ends in .zip")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: is there already; give another name, or --overwrite")
    if not output.parent.is_dir():
        raise UserError(f"{output}: there is no such folder; make it, or choose another place")
    needed = {"safetensors": "export", "flatbuffers": "export"}
    for library, extra in (needed | ({"jax2onnx": "onnx"} if with_onnx else {})).items():
        if not importlib.util.find_spec(library):
            raise UserError(f"export needs {library}: pip install 'amvur-jax[{extra}]'")
    if with_onnx and jax.__version_info__ >= (0, 12):
        raise UserError(
            f"--onnx: jax2onnx 0.17 does not work with jax {jax.__version__}: pip install 'jax<0.12'"
        )


def export(
    predictor: Predictor, output: Path, weights_licence: str, with_onnx: bool = False
) -> str:
    """Write the zip; returns its sha256.

    Args:
      predictor: the network, with the temperatures of its sigma.
      output: path; what is there is replaced when the new one is whole.
      weights_licence: what about.json says of the weights.
      with_onnx: write the network as ONNX too, which takes minutes.
    Raises:
      UserError: it cannot be written, or not as ONNX.
    """
    if with_onnx and predictor.config["loss"]["mode"] == "supervised":
        raise UserError(
            "--onnx: of a supervised network's answer jax2onnx converts no `pad`; leave --onnx away"
        )
    from safetensors.numpy import save

    program = programs.program(predictor)
    faces = np.asarray(predictor.hand.faces)
    files = {
        "network.jax_export": bytes(programs.stablehlo(program).serialize()),
        "weights.safetensors": save({**program.arrays, "faces": faces}),
        "loader.py": (_ROOM / "exported" / "loader.py").read_bytes(),
        "LICENSE": _LICENCE.read_bytes(),
    }
    if with_onnx:
        files["network.onnx"] = programs.onnx(program)
    described = about(predictor, program.inputs, program.outputs, weights_licence)
    described["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
    }
    files = {"about.json": (json.dumps(described, indent=2) + "\n").encode(), **files}
    with explained(output), writing(output) as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return hashlib.sha256(output.read_bytes()).hexdigest()
