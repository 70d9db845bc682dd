#!/usr/bin/env bash
# optax 0.2.7 and 0.2.8 with jax 0.10.0, Python 3.11: what `import optax` asks of jax.
#
# Behaviour: importing optax 0.2.7 sets an option of jax's global configuration, jax_pmap_shmap_merge, which jax 0.10 no longer has:
#   `import optax` raises AttributeError. Its metadata ask for a lowest jax and no highest one, so pip installs the two together and `pip check`
#   finds nothing wrong. With optax 0.2.8 it imports.
# One would have guessed: what pip resolves and checks together imports, the more so a library of pure functions, which has no need of jax's configuration.
# Output seen:
#   optax 0.2.7: No broken requirements found.
#   optax 0.2.7: AttributeError: Unrecognized config option: jax_pmap_shmap_merge
#   optax 0.2.8: No broken requirements found.
#   optax 0.2.8: imported
# Remedy: optax >= 0.2.8 for jax >= 0.10; test the lowest versions that a project allows together, not each alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for optax in 0.2.7 0.2.8; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "optax==$optax" jax==0.10.0 jaxlib==0.10.0
    echo "optax $optax: $("$folder/venv/bin/pip" check --disable-pip-version-check)"
    JAX_PLATFORMS=cpu "$folder/venv/bin/python" -c "
try:
    import optax
    print('optax $optax: imported')
except AttributeError as error:
    print(f'optax $optax: AttributeError: {error}')"
done | tee "$folder/found"
diff "$folder/found" - <<'TEXT'
optax 0.2.7: No broken requirements found.
optax 0.2.7: AttributeError: Unrecognized config option: jax_pmap_shmap_merge
optax 0.2.8: No broken requirements found.
optax 0.2.8: imported
TEXT
