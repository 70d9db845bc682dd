#!/usr/bin/env bash
# optax 0.2.8 with jax 0.12.0.1 (jaxlib 0.12.0.1), Python 3.13, Linux x86-64, CPU: the second moments of Adam for parameters in
# bfloat16.
#
# Behaviour: optax.adam and adamw keep nu in the parameters' dtype, and multiply it by b2 in that dtype. The bfloat16 next to
#   0.999, the default, is 1: nu never shrinks. One large gradient holds the steps of its parameter down for good. mu_dtype asks
#   for the first moment only, there is no such argument for the second, and nothing warns.
# One would have guessed: that bfloat16 costs digits of nu, not its forgetting, or that mu_dtype="float32" covers it.
# Output seen (nu, and a step over the rate, 20000 steps of gradient 0.1 after one of 100; a step of 1 is Adam's for a steady gradient):
#   float32                        nu 0.01, step 1.0
#   bfloat16                       nu 10.0, step 0.032
#   bfloat16, mu_dtype float32     nu 10.0, step 0.032
#   bfloat16, b2=0.99              nu 0.01, step 0.9
# Remedy: parameters in float32 for the optimiser, cast for the network; or a smaller b2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check optax==0.2.8 jax==0.12.0.1 jaxlib==0.12.0.1
cat > "$folder/case.py" <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import optax

RATE = 1.0


def after_a_spike(dtype, **options):
    optimizer = optax.adam(RATE, **options)
    weight = jnp.zeros((), dtype)

    def step(state, gradient):
        update, state = optimizer.update(gradient.astype(dtype), state, weight)
        return state, update

    gradients = jnp.full(20001, 0.1).at[0].set(100.0)
    state, updates = jax.jit(lambda gradients: jax.lax.scan(step, optimizer.init(weight), gradients))(gradients)
    return float(f"{float(state[0].nu):.1g}"), float(f"{-float(updates[-1]) / RATE:.2g}")


cases = {
    "float32": after_a_spike(jnp.float32),
    "bfloat16": after_a_spike(jnp.bfloat16),
    "bfloat16, mu_dtype float32": after_a_spike(jnp.bfloat16, mu_dtype="float32"),
    "bfloat16, b2=0.99": after_a_spike(jnp.bfloat16, b2=0.99),
}
for title, (nu, length) in cases.items():
    print(f"{title:30s} nu {nu}, step {length}")
sys.exit([*cases.values()] != [(0.01, 1.0), (10.0, 0.032), (10.0, 0.032), (0.01, 0.9)])
PYTHON
JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/case.py"
