#!/usr/bin/env bash
# bpy 5.3.0 (Blender as a module, with its glTF importer), trimesh 5.2.0, numpy 2.3.5, Python 3.13, Linux x86-64.
#
# Behaviour: Blender imports application-specific vertex attributes of glTF 2.0 (names with "_", any type but 32-bit integers) where
#   they are floats or unsigned bytes, and leaves 16-bit ones and signed bytes out, without a word: labels of more than 255 kinds
#   are not there, and an export has them no more. trimesh reads them. Of unsigned bytes with "normalized", which the format has for
#   fractions, the whole import fails: "couldn't access the py sequence". Khronos' validator (gltf-validator 2.0.0-dev.3.10 of
#   npm) finds no fault with the files.
# One would have guessed: that all types that the format allows come, as with trimesh, or that a warning names what is left out.
# Output seen (what an attribute with the numbers 0, 1 and 2 becomes):
OUTPUT_SEEN="float32: blender FLOAT, trimesh [0, 1, 2]
uint8: blender INT, trimesh [0, 1, 2]
int8: blender nothing, trimesh [0, 1, 2]
uint16: blender nothing, trimesh [0, 1, 2]
int16: blender nothing, trimesh [0, 1, 2]
uint8, normalized: blender RuntimeError, couldn't access the py sequence"
# Remedy: write such attributes as floats, which have all integers up to 2 ** 24.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check bpy==5.3.0 trimesh==5.2.0 numpy==2.3.5
cat > "$folder/case.py" <<'PYTHON'
import json
import struct
import sys

import bpy
import numpy as np
import trimesh

COMPONENT = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "float32": 5126}


def write(path, dtype, normalized):
    """One triangle with an attribute _LABEL of 0, 1 and 2, each number at a multiple of four bytes."""
    places = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    width = np.dtype(dtype).itemsize
    labels = np.arange(3).astype(dtype).reshape(3, 1).view(np.uint8)
    content = places.tobytes() + np.pad(labels, ((0, 0), (0, 4 - width))).tobytes()
    label = {"bufferView": 1, "componentType": COMPONENT[dtype], "count": 3, "type": "SCALAR"}
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "_LABEL": 1}}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
            label | ({"normalized": True} if normalized else {}),
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36, "target": 34962},
            {"buffer": 0, "byteOffset": 36, "byteLength": 12, "byteStride": 4, "target": 34962},
        ],
        "buffers": [{"byteLength": len(content)}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    with open(path, "wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(content)))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(content), b"BIN\0") + content)


def blender(path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    try:
        bpy.ops.import_scene.gltf(filepath=path)
    except RuntimeError as error:
        said = "couldn't access the py sequence"
        return f"RuntimeError, {said if said in str(error) else 'another one'}"
    (mesh,) = bpy.data.meshes
    assert len(mesh.vertices) == 3
    return mesh.attributes["_LABEL"].data_type if "_LABEL" in mesh.attributes else "nothing"


path, lines = sys.argv[1], []
for dtype in ("float32", "uint8", "int8", "uint16", "int16"):
    write(path, dtype, normalized=False)
    (mesh,) = trimesh.load_scene(path, process=False).geometry.values()
    numbers = mesh.vertex_attributes["_LABEL"].ravel().astype(int).tolist()
    lines.append(f"{dtype}: blender {blender(path)}, trimesh {numbers}")
write(path, "uint8", normalized=True)
lines.append(f"uint8, normalized: blender {blender(path)}")
with open(sys.argv[2], "w") as file:
    file.write("\n".join(lines))
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/case.py" "$folder/labels.glb" "$folder/seen" > "$folder/log" 2>&1 || tail -n 3 "$folder/log"
cat "$folder/seen" && echo
test "$(cat "$folder/seen")" = "$OUTPUT_SEEN" || { echo "the behaviour has changed" >&2; exit 1; }
