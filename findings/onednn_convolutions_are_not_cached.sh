#!/usr/bin/env bash
# jax 0.12.0.1 (jaxlib 0.12.0.1), Python 3.13, Linux x86-64, CPU: a program with anything that oneDNN computes is never kept in the
# persistent compilation cache.
#
# Behaviour: with XLA_FLAGS="--xla_cpu_experimental_onednn_custom_call=true --xla_cpu_experimental_ynn_fusion_type=
#   -individual_convolution" a convolution becomes a call of oneDNN; with the first flag alone a softmax does.
#   Such an executable cannot be serialised: "MemoryError: std::bad_alloc", with gigabytes free. The cache turns it into a warning,
#   "Error writing persistent compilation cache entry", once a process (Python shows a warning of one place once), so that each
#   start compiles anew whatever has the smallest convolution in it. jax.experimental.serialize_executable raises it.
# One would have guessed: that the flag changes speed alone, or that an error says that such calls cannot be serialised.
# Output seen (entries that two processes left for the convolution, and hits of the second):
#   without oneDNN: 1 entry, 1 hit
#   with oneDNN: 0 entries, 0 hits, MemoryError: std::bad_alloc
# Remedy: leave the flag away, or give it to those programs alone that run for long:
#   jax.jit(f, compiler_options={"xla_cpu_experimental_onednn_custom_call": True}).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jax==0.12.0.1 jaxlib==0.12.0.1
cat > "$folder/case.py" <<'PYTHON'
import os
import pathlib
import subprocess
import sys
import tempfile

CASE = """
import sys, jax, jax.experimental.serialize_executable, jax.monitoring, jax.numpy as jnp
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
x, kernel = jnp.ones((8, 32, 32, 16)), jnp.ones((3, 3, 16, 32))
order = ("NHWC", "HWIO", "NHWC")
def convolve(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order)
lowered = jax.jit(convolve).lower(x, kernel)
hits = []
jax.monitoring.register_event_listener(
    lambda event, **_: hits.append(event) if event == "/jax/compilation_cache/cache_hits" else None
)
compiled = lowered.compile()
try:
    jax.experimental.serialize_executable.serialize(compiled)
    error = ""
except MemoryError as e:
    error = f"MemoryError: {e}"
print(len(hits), error)
"""
# YNN's convolutions, the default, would come before oneDNN's; they are kept.
NOT_YNN = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
found = []
for title, flag in (("without oneDNN", "false"), ("with oneDNN", "true")):
    with tempfile.TemporaryDirectory() as folder:
        flags = f"{NOT_YNN} --xla_cpu_experimental_onednn_custom_call={flag}"
        for _ in range(2):
            hits, error = (
                subprocess.check_output(
                    [sys.executable, "-W", "ignore", "-c", CASE, folder],
                    env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
                    text=True,
                )
                .strip("\n")
                .split(" ", 1)
            )
        entries = len([*pathlib.Path(folder).glob("jit_convolve-*-cache")])
    found.append((entries, int(hits), error))
    print(f"{title}:", entries, "entries,", hits, "hits,", error)
sys.exit(found != [(1, 1, ""), (0, 0, "MemoryError: std::bad_alloc")])
PYTHON
"$folder/venv/bin/python" "$folder/case.py" 2> /dev/null
