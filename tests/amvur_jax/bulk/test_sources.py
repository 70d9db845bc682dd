"""What a bulk run reads: each picture once, in partitions that a list alone decides."""

import numpy as np
import PIL.Image
import pytest

pa = pytest.importorskip("pyarrow", reason="no pyarrow: pip install -e '.[ray]'")
import pyarrow.parquet as pq  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402

from amvur_jax.bulk.sources import Source, find_sources, partitions  # noqa: E402
from amvur_jax.errors import UserError  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        PIL.Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / name)
    return tmp_path


def names(text):
    return [source.name for source in find_sources(text)]


def test_each_once_under_the_name_that_was_given_from_an_absolute_path(folder):
    pq.write_table(pa.table({"picture": ["c.png", "a.png"], "n": [1, 2]}), "list.parquet")
    found = find_sources("b.png,list.parquet,a.png")
    assert [(s.name, s.path) for s in found] == [
        (name, folder / name) for name in ("b.png", "c.png", "a.png")
    ]
    assert [int(s.read()[0, 0, 0]) for s in found] == [1, 2, 0]
    pq.write_table(pa.table({"path": ["a.png"], "n": [1]}), "list.parquet")
    assert names("list.parquet") == ["a.png"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"file": ["a.png"]}, "list.parquet: has no column picture or path of paths; it has file"),
        ({"picture": ["a.png", None]}, "list.parquet: row 1 of the column picture is None"),
        ({"picture": [1]}, "list.parquet: row 0 of the column picture is 1"),
    ],
)
def test_a_table_that_is_no_list_of_paths_is_named(folder, columns, words):
    pq.write_table(pa.table(columns), "list.parquet")
    with pytest.raises(UserError, match=words):
        find_sources("list.parquet")


def test_a_file_that_is_no_table_is_named(folder):
    (folder / "list.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"list\.parquet: is no Parquet file that can be read"):
        find_sources("list.parquet")


def test_records_of_tfds_are_pictures(folder):
    """Of any data set with an image, written by TFDS itself."""
    features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(None, None, 3))})
    writer = tfds.core.SequentialWriter(
        tfds.core.DatasetInfo(
            builder=tfds.core.DatasetIdentity(
                name="photos",
                version=tfds.core.Version("1.0.0"),
                data_dir=str(folder / "records"),
                module_name="",
            ),
            features=features,
        ),
        max_examples_per_shard=2,
        file_format="array_record",
    )
    (folder / "records").mkdir()
    writer.initialize_splits(["train"])
    writer.add_examples(
        {"train": [{"image": str(folder / n)} for n in ("a.png", "c.png", "b.png")]}
    )
    writer.close_all()
    found = find_sources("records")
    assert [s.name for s in found] == [f"records#train/{i}" for i in range(3)]
    assert [int(s.read()[0, 0, 0]) for s in found] == [0, 2, 1]
    assert not any(s.is_video for s in found)


def test_a_partition_is_a_slice_or_a_video_and_its_name_what_is_in_it(tmp_path):
    sources = [Source(name, tmp_path / name) for name in ("a.png", "v.mp4", "b.png", "c.png")]
    made = partitions(sources, 2)
    assert [[s.name for s in p.sources] for p in made] == [["a.png", "b.png"], ["c.png"], ["v.mp4"]]
    assert partitions(sources[::2], 2)[0] == made[0]
    rest = partitions([s for s in sources if s not in made[0].sources], 2)
    assert rest == made[1:]  # what is left of a run has the names that it had
    assert len(np.unique([p.name for p in [*made, *partitions(sources, 3)]])) == 4
