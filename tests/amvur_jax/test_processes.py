"""Two processes of two devices each predict a split together: the same files as one process alone."""

import json
import os
import socket
import subprocess
import sys

import pytest
from tiny import tiny_config
from trees import write_ho3d

from amvur_jax import inference
from amvur_jax.evaluate import evaluate
from amvur_jax.train import train

SCRIPT = """
import sys, jax
address, process, run, output = sys.argv[1:]
jax.distributed.initialize(address, num_processes=2, process_id=int(process))
assert (jax.process_count(), jax.local_device_count()) == (2, 2)
from amvur_jax import inference
from amvur_jax.evaluate import evaluate
scores = evaluate(inference.load(run), output, batch_size=2)
assert (scores is None) == (process == "1")
"""


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path):
    write_ho3d(tmp_path / "tree", train=3, evaluation=5)
    train(tiny_config(tmp_path / "tree", steps=1), tmp_path / "run")
    alone = evaluate(inference.load(tmp_path / "run"), tmp_path / "one", batch_size=2)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, str(i), tmp_path / "run", tmp_path / "two"],
            env=os.environ | {"XLA_FLAGS": flags},
        )
        for i in range(2)
    ]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    assert {p.name for p in (tmp_path / "two").iterdir()} == {
        p.name for p in (tmp_path / "one").iterdir()
    }
    again = json.loads((tmp_path / "two/scores.json").read_text())
    assert again["pa_mpjpe_mm"] == pytest.approx(alone["pa_mpjpe_mm"], abs=1e-3)
    assert [row["name"] for row in again["worst"]] == [row["name"] for row in alone["worst"]]
