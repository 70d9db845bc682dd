"""Run what `export.py` wrote: Network("hand.zip")(images=...). Needs jax, flatbuffers, numpy, safetensors."""

import hashlib
import json
import zipfile

import jax
import jax.export
import numpy as np
from safetensors.numpy import load


class Network:
    """`about` says what goes in and comes out; `faces` (F,3) are those of its vertices."""

    def __init__(self, path: str) -> None:
        with zipfile.ZipFile(path) as archive:
            self.about = json.loads(archive.read("about.json"))
            files = {name: archive.read(name) for name in self.about["files"]}
        for name, entry in self.about["files"].items():
            if hashlib.sha256(files[name]).hexdigest() != entry["sha256"]:
                raise ValueError(f"{path}: {name} is damaged")
        self.weights = load(files["weights.safetensors"])
        self.faces = self.weights.pop("faces")
        self.run = jax.jit(jax.export.deserialize(bytearray(files["network.jax_export"])).call)

    def __call__(self, images: np.ndarray, **seen: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name, of inputs by name, all of one batch; what is left out has its default."""
        given, inputs = {"images": images, **seen}, []
        for entry in self.about["inputs"]:
            value = given.pop(entry["name"], None)
            if value is None:  # a default of null is NaN
                shape = (len(images), *entry["shape"][1:])
                value = np.full(shape, entry["default"], np.float32)
            inputs.append(np.asarray(value).astype(entry["dtype"], casting="same_kind"))
        if given:
            raise TypeError(f"this network takes no {', '.join(given)}")
        return jax.device_get(self.run(self.weights, *inputs))
