#!/usr/bin/env bash
# orbax-checkpoint 0.12.8 with jax 0.10.2, Python 3.11: a preservation policy BestN keeps the best checkpoint only while the
# process lives that saved it.
#
# Behaviour: CheckpointManager(preservation_policy=AnyPreservationPolicy([LatestN(1), BestN(get_metric_fn=..., n=1)])) takes
#   metrics in save() and keeps the step with the best. But it writes them to disk only where the option `best_fn` is set too.
#   A manager that is opened again on the folder, as after any restart of a training, finds no metrics with the old best, and
#   the first save deletes it, without a word.
# One would have guessed: that BestN, which is given the function that reads the metrics, makes the manager write what that
#   function needs, or that it complains where it cannot know.
# Output seen (steps on disk after 1 and 2 were saved, after a restart and 3, after another and 4; 1 is the best):
#   BestN alone            [1, 2] [3] [4]
#   BestN and best_fn      [1, 2] [1, 3] [1, 4]
# Remedy: set best_fn to the same function.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check orbax-checkpoint==0.12.8 jax==0.10.2 jaxlib==0.10.2
cat > "$folder/case.py" <<'PYTHON'
import pathlib
import sys
import tempfile

import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN


def goodness(metrics):
    return -metrics["error"]


def save(folder, errors, **more):
    best = BestN(get_metric_fn=goodness, n=1, keep_checkpoints_without_metrics=False)
    policy = AnyPreservationPolicy([LatestN(1), best])
    options = ocp.CheckpointManagerOptions(preservation_policy=policy, **more)
    with ocp.CheckpointManager(folder, options=options) as manager:
        for step, error in errors.items():
            item = ocp.args.StandardSave({"w": jnp.ones(2)})
            manager.save(step, args=item, metrics={"error": error})
        manager.wait_until_finished()
    return sorted(int(p.name) for p in pathlib.Path(folder).iterdir() if p.name.isdigit())


found = []
for title, more in (("BestN alone", {}), ("BestN and best_fn", {"best_fn": goodness})):
    with tempfile.TemporaryDirectory() as folder:
        steps = [save(folder, errors, **more) for errors in ({1: 1.0, 2: 2.0}, {3: 3.0}, {4: 4.0})]
    print(f"{title:22s}", *steps)
    found.append(steps)
sys.exit(found != [[[1, 2], [3], [4]], [[1, 2], [1, 3], [1, 4]]])
PYTHON
"$folder/venv/bin/python" "$folder/case.py" 2> /dev/null
