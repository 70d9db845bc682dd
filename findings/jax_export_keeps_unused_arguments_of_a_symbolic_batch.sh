#!/usr/bin/env bash
# jax 0.12.0.1 (jaxlib 0.12.0.1), Python 3.13, Linux x86-64, CPU (0.10.2 likewise): of a program with a symbolic dimension jax.export
# keeps every argument, those too that nothing reads.
#
# Behaviour: of a function that reads the first of three arguments, module_kept_var_idx is (0,) where all shapes are numbers, and
#   (0, 1, 2) as soon as a dimension of one of them is symbolic, whichever it is.
# One would have guessed: that unused arguments are dropped in both cases, as the documentation of Exported.module_kept_var_idx has it
#   ("The other arguments have been dropped because they are not used"). A network's weights that no output needs go along.
# Output seen:
#   numbers: (0,)
#   a symbolic batch: (0, 1, 2)
# Remedy: drop them before: jax.interpreters.partial_eval.dce_jaxpr of the traced function says which are read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jax==0.12.0.1 jaxlib==0.12.0.1
cat > "$folder/case.py" <<'PYTHON'
import sys

import jax
import jax.numpy as jnp

(batch,) = jax.export.symbolic_shape("batch")
found = []
for title, size in (("numbers", 2), ("a symbolic batch", batch)):
    images = jax.ShapeDtypeStruct((size, 3), jnp.float32)
    weights = jax.ShapeDtypeStruct((3,), jnp.float32)
    exported = jax.export.export(jax.jit(lambda images, b, c: 2 * images))(images, weights, weights)
    found.append(exported.module_kept_var_idx)
    print(f"{title}:", found[-1])
sys.exit(found != [(0,), (0, 1, 2)])
PYTHON
JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/case.py" 2> /dev/null
