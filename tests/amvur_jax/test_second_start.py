"""Commands that were run before compile nothing: XLA's code is in the cache of the first start."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from trees import write_ho3d

ROOT = pathlib.Path(__file__).parents[2]
COUNT = """
import atexit, runpy, sys, jax.monitoring
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.split("/")[-1]))
say = lambda: print("compiled", events.count("cache_misses"), "found", events.count("cache_hits"))
atexit.register(say)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
CONFIG = """
from tiny import tiniest_config
def get_config():
    return tiniest_config({root!r}, batch_size=4, steps=3)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A script's name and its flags -> (how much it compiled, how much it found), with one cache for all."""
    cache = tmp_path_factory.mktemp("cache")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_COMP"))}
    environment |= {"PYTHONPATH": str(pathlib.Path(__file__).parents[1] / "fixtures")}

    def count(script, *flags):
        command = [sys.executable, "-c", COUNT, str(ROOT / "scripts" / script), *map(str, flags)]
        result = subprocess.run(
            [*command, f"--compilation_cache={cache}"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=1200,
        )
        assert result.returncode == 0, result.stderr
        found = re.search(r"^compiled (\d+) found (\d+)$", result.stdout, re.M)
        return int(found[1]), int(found[2])

    return count


def compiles_once(start, command):
    assert start(*command)[0]
    compiled, found = start(*command)
    assert compiled == 0 < found


@pytest.mark.slow
def test_a_second_training_and_evaluation_compile_nothing(start, tmp_path):
    root, config = str(tmp_path / "data"), tmp_path / "config.py"
    write_ho3d(tmp_path / "data", train=8, evaluation=2)
    config.write_text(CONFIG.format(root=root))
    runs = [tmp_path / "first", tmp_path / "second"]
    first, second = (start("train.py", f"--config={config}", f"--workdir={run}") for run in runs)
    assert first[0] > second[0] == 0 < second[1]
    checkpoint, output = f"--checkpoint={runs[0]}", f"--output={tmp_path / 'scores'}"
    compiles_once(start, ("evaluate.py", checkpoint, f"--data_root={root}", output))


@pytest.mark.slow
def test_a_second_prediction_compiles_nothing(start, tmp_path):
    photo = next((ROOT / "amvur_jax" / "assets" / "photos").glob("*.jpg"))
    flags = f"--input={photo}", "--overwrite", f"--output={tmp_path / 'out'}"
    compiles_once(start, ("predict.py", *flags))
