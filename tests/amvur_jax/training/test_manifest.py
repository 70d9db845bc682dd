"""What a run was made with is kept, of every start."""

import json

from amvur_jax.training.manifest import write_manifest


def test_each_start_is_noted_and_a_damaged_note_stops_none(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(tmp_path, {"seed": 3}, 0)
    write_manifest(tmp_path, {"seed": 3}, 40)
    manifest = json.loads(path.read_text())
    assert manifest["config"] == {"seed": 3}
    assert [launch["from_step"] for launch in manifest["launches"]] == [0, 40]
    assert {"command", "git", "versions", "devices", "time"} <= set(manifest["launches"][1])
    assert {"jax", "flax", "numpy"} <= set(manifest["launches"][1]["versions"])
    path.write_text("{")
    write_manifest(tmp_path, {}, 50)
    assert [launch["from_step"] for launch in json.loads(path.read_text())["launches"]] == [50]
