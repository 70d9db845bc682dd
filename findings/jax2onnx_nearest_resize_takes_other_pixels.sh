#!/usr/bin/env bash
# jax2onnx 0.17.1 with jax 0.11.0, onnx 1.23.2 and onnxruntime 1.32.0, Python 3.13, Linux x86-64, CPU (jax 0.12.0.1 likewise).
#
# Behaviour: jax.image.resize(..., "nearest") to half the size takes the pixels 1, 3, 5, 7; exported, it takes 0, 2, 4, 6: a mask or a
#   heat map lies one pixel further up and left. The centre of a small pixel is an edge between two large ones there; JAX takes the
#   second, ONNX' default ("round_prefer_floor") the first.
#   Export says nothing; twice the size, and "linear", agree.
# One would have guessed: that an exported program computes what it was exported from, to rounding.
# Output seen (0 to 7 in 4):
#   nearest: jax [1 3 5 7], onnx [0 2 4 6]
#   linear: jax [0.5 2.5 4.5 6.5], onnx [0.5 2.5 4.5 6.5]
# Remedy: gather by indices of one's own, or a convolution, in the place of resize; compare the two programs' outputs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check \
    jax2onnx==0.17.1 jax==0.11.0 jaxlib==0.11.0 flax==0.12.8 onnx==1.23.2 onnxruntime==1.32.0
cat > "$folder/case.py" <<'PYTHON'
import jax
import numpy as np
import onnxruntime
from jax2onnx import to_onnx


def both(image, size, method):
    """The image resized to (1, size, 1, 1), by JAX and by the exported program."""

    def resize(image):
        return jax.image.resize(image, (1, size, 1, 1), method, antialias=False)

    image = np.asarray(image, np.float32).reshape(1, -1, 1, 1)
    model = to_onnx(resize, [jax.ShapeDtypeStruct(image.shape, image.dtype)]).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {session.get_inputs()[0].name: image})
    return np.asarray(resize(image)).ravel(), exported.ravel()


nearest, linear = both(range(8), 4, "nearest"), both(range(8), 4, "linear")
print("nearest: jax {}, onnx {}".format(*(a.astype(int) for a in nearest)))
print("linear: jax {}, onnx {}".format(*linear))
np.testing.assert_array_equal(nearest, [[1, 3, 5, 7], [0, 2, 4, 6]])
twice = both(range(8), 16, "nearest")
np.testing.assert_array_equal(*twice)
np.testing.assert_allclose(linear[0], linear[1], atol=1e-5)
PYTHON
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -W ignore "$folder/case.py" 2> "$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
