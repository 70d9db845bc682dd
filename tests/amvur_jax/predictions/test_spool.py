"""Parts written by any number of processes become one ordered, complete whole, or an error."""

import numpy as np
import pytest

from amvur_jax.errors import UserError
from amvur_jax.evaluate import write_predictions
from amvur_jax.predictions.spool import RECORD, Parts, PartWriter, part_path


def arrays(indices):
    """Records whose numbers tell their index."""
    rng = np.random.default_rng(0)
    base = {name: rng.normal(size=RECORD[name].shape) for name in RECORD.names}
    made = {k: np.stack([v + i for i in indices]) for k, v in base.items() if k != "index"}
    return made | {"index": np.array(indices)}


def write(folder, process, processes, indices):
    with PartWriter(folder, process, processes) as writer:
        for start in range(0, len(indices), 2):
            writer.add(arrays(indices[start : start + 2]))


@pytest.mark.parametrize(
    "shares", [[range(7)], [range(0, 7, 2), range(1, 7, 2)], [[6, 2], [], [0, 1, 5, 3, 4]]]
)
def test_any_sharing_gives_the_same_whole_and_the_same_archive(tmp_path, shares):
    for process, indices in enumerate(shares):
        write(tmp_path / "many", process, len(shares), list(indices))
    write(tmp_path / "one", 0, 1, list(range(7)))
    many, one = Parts(tmp_path / "many", len(shares), 7), Parts(tmp_path / "one", 1, 7)
    assert [r["index"] for r in many] == list(range(7))
    batches = [[batch.tobytes() for batch in parts.batches(3)] for parts in (many, one)]
    assert batches[0] == batches[1] and len(batches[0]) == 3
    for records, name in ((many, "a.zip"), (one, "b.zip")):
        write_predictions(records, tmp_path / name, "freihand")
        records.remove()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert not list((tmp_path / "many").iterdir())


@pytest.mark.parametrize(
    "shares, message",
    [
        ([[0, 1], [3]], "frame 2 0 times"),
        ([[0, 1, 2], [2, 3]], "frame 2 2 times"),
        ([[0, 1, 2], [3, 4]], "5 predictions of 4"),
    ],
)
def test_a_missing_or_doubled_sample_is_named(tmp_path, shares, message):
    for process, indices in enumerate(shares):
        write(tmp_path, process, 2, indices)
    with pytest.raises(UserError, match=message):
        Parts(tmp_path, 2, 4)


def test_a_missing_or_cut_part_is_named(tmp_path):
    write(tmp_path, 0, 2, [0, 1])
    with pytest.raises(UserError, match=r"00001-of-00002.*cannot be read"):
        Parts(tmp_path, 2, 3)
    part_path(tmp_path, 1, 2).write_bytes(b"half")
    with pytest.raises(UserError, match="is cut"):
        Parts(tmp_path, 2, 3)


def test_a_failed_process_leaves_no_part(tmp_path):
    with pytest.raises(KeyboardInterrupt), PartWriter(tmp_path) as writer:
        writer.add(arrays([0]))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
