"""Data, runs and checkpoints behind URLs: memory://, an S3 of moto's, a Google Cloud Storage in memory."""

import fsspec
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gcs_server import gcs_server
from labels import labelled_hand
from moto.server import ThreadedMotoServer
from tiny import tiniest_config

from amvur_jax import checkpoint
from amvur_jax.checkpoint_stores import COMMITTED
from amvur_jax.data.build_records import Settings, build
from amvur_jax.data.open import open_dataset, splits_of
from amvur_jax.data.readers.hands_csv import write_hands
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.data.synthetic.paint import Painter
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from amvur_jax.files.places import place, reached
from amvur_jax.files.whole import append_whole, write_picture, write_whole, writing
from amvur_jax.report import read_run, write_report
from amvur_jax.train import train
from amvur_jax.training.metrics import read_metrics
from mano_jax import load_hand

S3 = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def stores():
    """{kind of URL: URL of an empty folder}."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with gcs_server() as (address, _), pytest.MonkeyPatch.context() as patch:
        for name, value in S3.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("STORAGE_EMULATOR_HOST", address)  # gcsfs
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", address)  # Orbax
        patch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", address)  # array_record
        patch.setenv(
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false"
        )  # else it asks Google about the bucket
        fsspec.filesystem("s3").mkdir("bucket")
        yield {"memory": "memory://bucket/test", "s3": "s3://bucket/test", "gs": "gs://bucket/test"}
    server.stop()


def put(folder, url):
    filesystem, path = fsspec.core.url_to_fs(url)
    for file in folder.rglob("*"):
        if file.is_file():
            filesystem.pipe_file(f"{path}/{file.relative_to(folder)}", file.read_bytes())


@pytest.fixture(scope="module")
def folders(tree, tmp_path_factory):
    """{kind: local folder} of each kind of data set."""
    root = tmp_path_factory.mktemp("folders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Painter, "frame", lambda self, s, v, k, b, depth: (b, depth, 0 * depth))
        make_synthetic(root / "freihand", 2, 2, 3, layout="freihand")
        make_synthetic(root / "ho3d", 5, 2, 3)
    build("ho3d_v2", root / "ho3d", root / "records", load_hand(), Settings(shard_frames=2), 1)
    (root / "photos").mkdir()
    hand = labelled_hand(np.full((21, 2), 40.0), np.ones(21))
    write_hands(root / "photos" / "hands.csv", [hand])
    picture = np.random.default_rng(0).integers(0, 255, (*hand.size[::-1], 3), dtype=np.uint8)
    (root / "photos" / hand.file).parent.mkdir(parents=True, exist_ok=True)
    write_picture(root / "photos" / hand.file, picture)
    return {kind: root / kind for kind in ("ho3d", "freihand", "records", "photos")} | {"v3": tree}


@pytest.mark.parametrize("kind", ["ho3d", "v3", "freihand", "records", "photos"])
@pytest.mark.parametrize("store", ["memory", "s3", "gs"])
def test_a_data_set_behind_a_url_is_that_of_the_folder(stores, folders, store, kind):
    url = f"{stores[store]}/{kind}"
    put(folders[kind], url)
    assert splits_of(url) == splits_of(folders[kind])
    for split in splits_of(url):
        here, there = open_dataset(folders[kind], split), open_dataset(url, split)
        assert there.names == here.names and there.moments == here.moments
        for i in range(len(here)):
            one, other = vars(here.frame(i)), vars(there.frame(i))
            for name in one:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        assert (here.ground_truth is None) == (there.ground_truth is None)
        jax.tree.map(np.testing.assert_array_equal, here.ground_truth, there.ground_truth)


@pytest.mark.parametrize("store", ["memory", "s3", "gs"])
def test_a_file_behind_a_url_is_whole_or_as_it_was(stores, store):
    path = place(f"{stores[store]}/files/lines")
    append_whole(path, b"one\n")
    append_whole(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(KeyboardInterrupt), writing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"one\ntwo\n"


def state(value):
    model = {"params": {"a": {"w": jnp.full(3, value)}}, "batch_stats": {"a": {"m": jnp.ones(2)}}}
    optimizer = {"count": jnp.int32(7), "mu": {"a": {"w": jnp.full(3, -value, jnp.bfloat16)}}}
    average = {"a": {"w": jnp.full(3, 5 * value)}}
    return {"model": model, "average": average, "optimizer": optimizer, "step": jnp.int32(value)}


@pytest.mark.parametrize("store", ["s3", "gs"])
def test_a_checkpoint_behind_a_url_is_that_of_the_folder(stores, tmp_path, store):
    url = f"{stores[store]}/checkpoint"
    for folder in (tmp_path, url):
        saver = checkpoint.Saver(
            checkpoint.manager(folder, keep=2, best="score"), {"train": {"best_metric": "score"}}
        )
        for step, score in ((1, 0.5), (2, 0.9), (3, 0.8), (4, 0.7)):
            saver.save(step, state(step), {"step": step}, {"score": score})
        saver.finish()
        saver.close()
    shapes = jax.tree.map(checkpoint.as_shape, state(0))
    assert checkpoint.newest(url) == checkpoint.newest(tmp_path) == 4
    assert checkpoint.find(f"{url}@best")[1] == checkpoint.find(f"{tmp_path}@best")[1] == 1
    found, wanted = (checkpoint.restore_state(f, shapes) for f in (url, tmp_path))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert jax.tree.map(lambda x: x.dtype, found[0]) == jax.tree.map(lambda x: x.dtype, wanted[0])
    inferred = checkpoint.restore_model(url, shapes["model"], averaged=True)
    np.testing.assert_array_equal(inferred["params"]["a"]["w"], 20.0)
    checkpoint.write_calibration(url, {"temperature": 2.0})
    assert checkpoint.read_calibration(url) == {"temperature": 2.0}
    # all that was asked to stay is there, and nothing else
    assert set(checkpoint._steps(checkpoint.located(url) / "checkpoints")) == {1, 3, 4}


@pytest.mark.parametrize("store", ["s3", "gs"])
def test_a_checkpoint_that_was_not_finished_is_none_and_makes_way(stores, store):
    url = f"{stores[store]}/unfinished"
    saver = checkpoint.Saver(checkpoint.manager(url), {})
    for step in (1, 2):
        saver.save(step, state(step), {})
    saver.finish()
    saver.close()
    place(f"{url}/checkpoints/2/{COMMITTED}").unlink()
    assert checkpoint.newest(url) == 1
    saver = checkpoint.Saver(checkpoint.manager(url), {})
    saver.save(2, state(8), {})
    saver.finish()
    saver.close()
    restored, _ = checkpoint.restore_state(url, jax.tree.map(checkpoint.as_shape, state(0)))
    np.testing.assert_array_equal(restored["model"]["params"]["a"]["w"], 8.0)


@pytest.fixture(scope="module")
def straight(folders, tmp_path_factory):
    """The folder of a run on this machine, and what it ended with."""
    folder = tmp_path_factory.mktemp("straight")
    return folder, train(tiniest_config(folders["records"]), folder)


@pytest.mark.parametrize("store", ["s3", "gs"])
def test_a_run_behind_a_url_that_was_cut_ends_as_one_in_a_folder(stores, folders, straight, store):
    put(folders["records"], f"{stores[store]}/run_data")
    url, folder = f"{stores[store]}/run", straight[0]
    config = tiniest_config(f"{stores[store]}/run_data")
    train(config, url)
    place(f"{url}/checkpoints/4/{COMMITTED}").unlink()  # as if it had been killed while it saved
    again = train(config, url)
    jax.tree.map(np.testing.assert_array_equal, again, straight[1])
    losses = [
        [line["train"]["total"] for line in read_metrics(place(f) / "metrics.jsonl")]
        for f in (url, folder)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert len(read_run(place(url)).launches) == 2
    assert "<html" in write_report([url]).read_text()[:200]


def test_a_profile_takes_a_folder(folders, stores):
    with pytest.raises(UserError, match="--profile: a trace goes to a folder"):
        train(tiniest_config(folders["records"]), f"{stores['s3']}/profile", profile=1)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://bucket/run", "checkpoints go to a folder or to a URL of gs://, s3://"),
        ("nonsense://bucket/run", "checkpoints go to a folder or to a URL of gs://, s3://"),
        ("s3://bucket/nothing", "no checkpoint here"),
    ],
)
def test_what_is_no_place_for_checkpoints_is_said(stores, url, message):
    with pytest.raises(UserError, match=message) as error:
        checkpoint.find(url)
    assert str(error.value).startswith(url)


def test_a_store_that_does_not_answer_is_named(stores, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # discard: nothing listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(UserError, match=r"s3://bucket/x: cannot be reached \(.*credentials"):
        open_dataset("s3://bucket/x")


def test_what_a_store_raises_is_what_a_disk_would_raise(monkeypatch):
    path = place("memory://bucket/test/errors")

    def fails(*_, **__):
        raise RuntimeError("an error of its own")

    for method in ("write_bytes", "read_bytes", "exists"):
        monkeypatch.setattr(type(path), method, fails)
    for write in (write_whole, append_whole):
        with pytest.raises(OSError, match="an error of its own"):
            write(path, b"data")
    with pytest.raises(UserError, match=r"errors: cannot be read \(an error of its own\)"):
        read_image(path)


def test_a_url_of_no_known_kind_is_named():
    with pytest.raises(UserError, match="nonsense://bucket/data: is no URL that fsspec knows"):
        open_dataset("nonsense://bucket/data")


def test_a_library_that_a_url_takes_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "upath", None)
    with pytest.raises(UserError, match=r"upath is not installed.*amvur-jax\[remote\]"):
        reached("s3://bucket/data")


def test_a_folder_whose_name_looks_like_a_url_is_none(tmp_path):
    assert place(tmp_path / "gs:" / "x") == tmp_path / "gs:" / "x"
