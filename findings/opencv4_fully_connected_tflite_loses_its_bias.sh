#!/usr/bin/env bash
# opencv-python-headless 4.14.0.94 beside 5.0.0.93 (its classic engine), ai-edge-litert 2.3.0, tflite 2.18.0, Python 3.11, Linux x86-64.
#
# Behaviour: OpenCV 4's importer of TFLite reads a FULLY_CONNECTED operator with its weights and without its bias, its third input,
#   and says nothing: y = W x in the place of y = W x + b. A network with such a layer at its end gives answers that are off by a
#   constant. 4.11.0.86, 4.13.0.90 and 4.14.0.94 do so, 5.0.0.93 does not.
# One would have guessed: that an operator is read whole, or refused.
# Output seen, for W x = [-1.138 -1.152 2.659], b = [10 20 30]:
#   litert: [8.862 18.848 32.659]
#   4.14.0: [-1.138 -1.152 2.659]
#   5.0.0: [8.862 18.848 32.659]
# Remedy: LiteRT or OpenCV 5; or, of a network whose last layers they are, add what a known answer says is missing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" --quiet --disable-pip-version-check "$@" 2> /dev/null; }
pip install tflite==2.18.0 flatbuffers==25.12.19 ai-edge-litert==2.3.0 'numpy>=2,<3'
cat > "$folder/make.py" <<'PYTHON'
"""A TFLite model of one fully connected layer, y = W x + b, and LiteRT's answer."""
import json
import sys

import flatbuffers
import numpy as np
import tflite
from ai_edge_litert.interpreter import Interpreter

rng = np.random.default_rng(0)
W = rng.normal(size=(3, 4)).astype(np.float32)
b, x = np.array([10, 20, 30], np.float32), rng.normal(size=(1, 4)).astype(np.float32)
to = flatbuffers.Builder(1024)


def numbers(values):
    return to.CreateNumpyVector(np.array(values, np.int32))


def table(name, **fields):
    getattr(tflite, f"{name}Start")(to)
    for field, value in fields.items():
        getattr(tflite, f"{name}Add{field}")(to, value)
    return getattr(tflite, f"{name}End")(to)


def vector(start, items):
    start(to, len(items))
    for item in reversed(items):
        to.PrependUOffsetTRelative(item)
    return to.EndVector()


data = [to.CreateByteVector(a.tobytes()) for a in (W, b)]
buffers = [table("Buffer"), *(table("Buffer", Data=d) for d in data)]
shapes = {"x": [1, 4], "w": [3, 4], "b": [3], "y": [1, 3]}
named = [(to.CreateString(name), numbers(shape)) for name, shape in shapes.items()]
tensors = [
    table("Tensor", Name=name, Shape=shape, Type=tflite.TensorType.FLOAT32, Buffer=buffer)
    for (name, shape), buffer in zip(named, (0, 1, 2, 0))
]
kind = tflite.BuiltinOperator.FULLY_CONNECTED
operator = table(
    "Operator",
    **{"Inputs": numbers([0, 1, 2]), "Outputs": numbers([3])},
    BuiltinOptionsType=tflite.BuiltinOptions.FullyConnectedOptions,
    BuiltinOptions=table("FullyConnectedOptions"),
)
graph = table(
    "SubGraph",
    Tensors=vector(tflite.SubGraphStartTensorsVector, tensors),
    Inputs=numbers([0]),
    Outputs=numbers([3]),
    Operators=vector(tflite.SubGraphStartOperatorsVector, [operator]),
)
code = table("OperatorCode", DeprecatedBuiltinCode=kind, BuiltinCode=kind, Version=1)
model = table(
    "Model",
    Version=3,
    OperatorCodes=vector(tflite.ModelStartOperatorCodesVector, [code]),
    Subgraphs=vector(tflite.ModelStartSubgraphsVector, [graph]),
    Buffers=vector(tflite.ModelStartBuffersVector, buffers),
)
to.Finish(model, b"TFL3")
content = bytes(to.Output())
with open(f"{sys.argv[1]}/model.tflite", "wb") as file:
    file.write(content)
litert = Interpreter(model_content=content)
litert.allocate_tensors()
litert.set_tensor(0, x)
litert.invoke()
found = litert.get_tensor(3)[0]
print("litert:", found.round(3))
np.testing.assert_allclose(found, (x @ W.T + b)[0], rtol=1e-5)
with open(f"{sys.argv[1]}/truth.json", "w") as file:
    json.dump({"x": x.tolist(), "with": found.tolist(), "without": (x @ W.T)[0].tolist()}, file)
PYTHON
cat > "$folder/read.py" <<'PYTHON'
import json
import sys

import cv2
import numpy as np

with open(f"{sys.argv[1]}/truth.json") as file:
    truth = json.load(file)
classic = (cv2.dnn.ENGINE_CLASSIC,) if hasattr(cv2.dnn, "ENGINE_CLASSIC") else ()
network = cv2.dnn.readNetFromTFLite(f"{sys.argv[1]}/model.tflite", *classic)
network.setInput(np.array(truth["x"], np.float32))
found = network.forward()[0]
print(f"{cv2.__version__}:", found.round(3))
np.testing.assert_allclose(found, truth[sys.argv[2]], rtol=1e-5)
PYTHON
"$folder/venv/bin/python" "$folder/make.py" "$folder" 2> /dev/null
pip install opencv-python-headless==4.14.0.94
"$folder/venv/bin/python" "$folder/read.py" "$folder" without
pip install opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" "$folder/read.py" "$folder" with
