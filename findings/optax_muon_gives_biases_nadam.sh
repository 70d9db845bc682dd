#!/usr/bin/env bash
# optax 0.2.8 with jax 0.10.2, Python 3.11: what optax.contrib.muon does with parameters that are no matrices.
#
# Behaviour: its documentation says that these are passed through AdamW. They are, but with the argument `nesterov`, which is
#   muon's own, True by default and explained as Muon's momentum: AdamW becomes NAdamW. The first step of a bias is then 1.47
#   times as long as the rate, where one of AdamW is as long as the rate; a schedule that was warmed up for AdamW is too hot.
# One would have guessed: the steps of optax.adamw with the same b1, b2, eps and rate.
# Output seen (the first three steps of a bias whose gradient is 1, over the rate; 3 digits):
#   adamw                     1.0 1.0 1.0
#   muon                      1.474 1.157 1.078
#   muon, nesterov=False      1.0 1.0 1.0
# Remedy: keep the difference in mind for the rate, or give the parameters that are no matrices an optimiser of their own by
#   optax.partition; nesterov=False changes the matrices' steps as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optax==0.2.8 jax==0.10.2 jaxlib==0.10.2
cat > "$folder/case.py" <<'PYTHON'
import sys

import jax.numpy as jnp
import optax
import optax.contrib


def first_steps(optimizer):
    params = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
    gradients = {"kernel": jnp.eye(3), "bias": jnp.ones(3)}
    state, steps = optimizer.init(params), []
    for _ in range(3):
        updates, state = optimizer.update(gradients, state, params)
        steps.append(round(-float(updates["bias"][0]) / RATE, 3))
    return steps


RATE = 1e-3
cases = {
    "adamw": optax.adamw(RATE, weight_decay=0.0),
    "muon": optax.contrib.muon(RATE),
    "muon, nesterov=False": optax.contrib.muon(RATE, nesterov=False),
}
found = []
for title, optimizer in cases.items():
    found.append(first_steps(optimizer))
    print(f"{title:25s}", *found[-1])
sys.exit(found != [[1.0, 1.0, 1.0], [1.474, 1.157, 1.078], [1.0, 1.0, 1.0]])
PYTHON
JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/case.py"
