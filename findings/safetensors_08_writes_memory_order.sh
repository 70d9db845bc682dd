#!/usr/bin/env bash
# safetensors 0.8.0 beside 0.7.0, numpy 2.3.5, Python 3.11, Linux x86-64.
#
# Behaviour: safetensors.numpy of 0.8.0 hands the address of an array to the writer, where 0.7.0 handed its bytes in C order. Of a
#   transposed matrix it writes the shape of the transpose and the numbers in the order in which they lie in memory, without a
#   word: another matrix comes back. save_file() and save() do so, and safetensors.flax for NumPy's arrays in a tree.
# One would have guessed: that a release keeps what the one before it did, or refuses. Its docstring asks for arrays that are
#   "contiguous and dense", which a transposed matrix is (F_CONTIGUOUS); so are torch's weights when they are turned for JAX.
# Output seen, for the transpose of [[0 1 2] [3 4 5]]:
OUTPUT_SEEN="0.7.0: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
0.8.0: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]"
# Remedy: numpy.ascontiguousarray before saving.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat > "$folder/case.py" <<'PYTHON'
import sys

import numpy as np
import safetensors.numpy

path = sys.argv[1]
turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
assert turned.flags.f_contiguous
safetensors.numpy.save_file({"weight": turned}, path)
print(f"{safetensors.__version__}:", safetensors.numpy.load_file(path)["weight"].tolist())
PYTHON
seen=""
for release in 0.7.0 0.8.0; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "safetensors==$release" numpy==2.3.5
    seen+="$("$folder/venv/bin/python" "$folder/case.py" "$folder/weights.safetensors")"$'\n'
done
printf '%s' "$seen"
test "${seen%$'\n'}" = "$OUTPUT_SEEN" || { echo "the behaviour has changed" >&2; exit 1; }
