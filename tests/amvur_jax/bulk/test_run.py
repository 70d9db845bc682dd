"""Whole runs on a Ray cluster of two workers: killed, poisoned, resumed, and the bits of predict."""

import os
import pathlib
import shutil
import signal
import threading
import time
import types

import cv2
import numpy as np
import PIL.Image
import pytest

ray = pytest.importorskip("ray", reason="no ray: pip install -e '.[ray]'")
pytest.importorskip("pyarrow", reason="no pyarrow: pip install -e '.[ray]'")

import pyarrow.parquet as pq  # noqa: E402
from bulk_stages import MadeFind, MadeReconstruct, wanted  # noqa: E402
from hands import SIZE  # noqa: E402
from videos import write_video  # noqa: E402

from amvur_jax import predict  # noqa: E402
from amvur_jax.bulk import tables  # noqa: E402
from amvur_jax.bulk.run import LOCK, bulk, join_cluster  # noqa: E402
from amvur_jax.bulk.sources import find_sources, partitions  # noqa: E402
from amvur_jax.bulk.stages import Find, Reconstruct, Settings  # noqa: E402
from amvur_jax.errors import UserError  # noqa: E402
from amvur_jax.files.image import read_image  # noqa: E402
from amvur_jax.files.lock import locked  # noqa: E402
from amvur_jax.hands import numbers, video  # noqa: E402
from amvur_jax.hands.pictures import find_pictures  # noqa: E402

pytestmark = pytest.mark.slow


FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
PHOTOS = pathlib.Path(predict.__file__).parent / "assets" / "photos"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FIXTURES))  # workers find bulk_stages there
        join_cluster(None, 2)
        yield
        ray.shutdown()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def draw(folder, *names):
    """Pictures of 0, 1 or 2 hands: {path as text: what they show}."""
    shown = {}
    for i, name in enumerate(names):
        shown[str(folder / name)] = i % 3, i
        PIL.Image.new("RGB", SIZE, (i % 3, i, 0)).save(folder / name)
    return shown


def run(folder, size=4, stages=(MadeFind, MadeReconstruct), refine=True, **options):
    flags = os.environ.get("XLA_FLAGS", "")
    settings = Settings(folder.parent / "out", refine=refine, xla_flags=flags)
    return bulk(find_sources(str(folder)), settings, size=size, finders=2, stages=stages, **options)


def read(folder, kind):
    return pq.read_table(folder.parent / "out" / kind).to_pylist()


def check(folder, shown, bad=()):
    """Every picture is there once, with its own hands, each once, and nothing else lies there."""
    pictures = read(folder, tables.PICTURES)
    assert sorted(p["picture"] for p in pictures) == sorted(shown)
    assert sorted(p["picture"] for p in pictures if p["error"]) == sorted(bad)
    hands = read(folder, tables.HANDS)
    for picture, (red, green) in shown.items():
        own = sorted((h for h in hands if h["picture"] == picture), key=lambda h: h["index"])
        red = 0 if picture in bad else red
        assert [h["index"] for h in own] == list(range(red))
        found = np.array([h["vertices_cam"] for h in own], np.float32).reshape(red, 778, 3)
        np.testing.assert_array_equal(found, wanted(red, green))
    assert sum(p["hands"] for p in pictures) == len(hands)
    assert {p.name for p in (folder.parent / "out").iterdir()} == {"hands", "pictures", "run.json"}
    assert all(len(p.name) == 24 for p in (folder.parent / "out").glob("*/*"))


def test_a_worker_that_dies_loses_and_doubles_nothing(folder):
    """One in the middle of a partition, one before it writes, one after it has, one by kill -9."""
    names = [f"{i:02d}.png" for i in range(9)]
    shown = draw(folder, "once.png", "half.png", *names, *(f"slow{i:02d}.png" for i in range(20)))
    killed = []

    def kill():
        while not killed:
            for note in (folder.parent / "out" / tables.WORKING).glob("*.find"):
                lines = note.read_text().splitlines()
                if len(lines) == 3 and "slow" in names_of[note.stem][int(lines[-1])]:
                    killed.append(int(lines[0].split()[-1]))
                    return os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.02)

    names_of = {
        p.name: [s.name for s in p.sources] for p in partitions(find_sources(str(folder)), 4)
    }
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    summary = run(folder)
    thread.join(1)
    assert killed
    check(folder, shown)
    assert (summary.pictures, summary.hands) == (len(shown), sum(red for red, _ in shown.values()))
    assert {p.name for p in folder.glob("*.mark*")} == {"once.mark", "half.mark0", "half.mark1"}


def test_a_poisonous_picture_is_tried_twice_and_listed_and_the_others_go_on(folder):
    shown = draw(folder, "a.png", "b.png", "dies.png", "fails.png", "g.png", "z.png")
    (folder / "torn.png").write_bytes(b"nothing")
    shown[str(folder / "torn.png")] = 0, 0
    bad = [str(folder / name) for name in ("dies.png", "fails.png", "torn.png")]
    summary = run(folder)
    check(folder, shown, bad)
    assert sorted(summary.bad) == bad
    assert summary.bad[bad[0]].endswith("2 workers died at it; look at it by itself")
    again = run(folder, resume=True)  # they are listed still, and not tried again
    assert (again.bad, again.earlier, again.pictures) == (summary.bad, len(shown) - len(bad), 0)
    assert "ValueError: as asked" in summary.bad[bad[1]] and "truncated" in summary.bad[bad[2]]


def test_a_folder_is_one_runs_at_a_time(folder):
    draw(folder, "a.png")
    with (
        locked(folder.parent / "out" / LOCK),
        pytest.raises(UserError, match=r"bulk\.lock: .* is in use by process"),
    ):
        run(folder)
    assert not list((folder.parent / "out").glob("*/*"))


def test_resume_does_what_is_not_done_and_only_that(folder):
    shown = draw(folder, *(f"{i}.png" for i in range(8)))
    run(folder)
    files = sorted((folder.parent / "out").glob("*/*.parquet"))
    assert len(files) == 4
    with pytest.raises(UserError, match=r"out: has results already; .*--resume.*--overwrite"):
        run(folder)
    # as a run leaves it that is stopped between a partition's two files: it is not done
    lost = next(p for p in files if p.parent.name == tables.PICTURES)
    lost.unlink()
    times = {p: p.stat().st_mtime_ns for p in files if p.exists() and p.name != lost.name}
    shown |= draw(folder, *(f"{i}.png" for i in range(9)))
    summary = run(folder, resume=True)
    assert (summary.earlier, summary.pictures) == (4, 5)
    with pytest.raises(UserError, match=r"run\.json: was begun with refine=True, not False"):
        run(folder, resume=True, refine=False)
    check(folder, shown)
    assert times == {p: p.stat().st_mtime_ns for p in times}


@pytest.fixture(scope="module")
def shipped():
    return Settings(pathlib.Path()).load()


@pytest.mark.parametrize("kind", ["photos", "video"])
def test_the_numbers_are_those_of_the_plain_loop_to_the_bit(kind, folder, shipped, monkeypatch):
    photos = sorted(PHOTOS.glob("*.jpg"))
    if kind == "photos":
        for i in range(20):
            shutil.copy(photos[i % 10], folder / f"{i:02d}.jpg")
    else:
        images = [cv2.resize(read_image(photos[0]), (320, 320))] * 12
        write_video(folder / "clip.mp4", images)
    made = {}

    def line(hand, picture, index, size, frame=0, time_s=0.0, track=None):
        track = index if track is None else track
        made[picture, frame, index] = hand, (*size, time_s, track)
        return numbers.line(hand, picture, index, size, frame, time_s, track)

    # both write through numbers.line: what it is given is not yet rounded
    for module in (predict, video):
        monkeypatch.setattr(
            module, "numbers", types.SimpleNamespace(**vars(numbers) | {"line": line})
        )
    plain = find_pictures(str(folder)).paths
    predict.predict(shipped, plain, folder.parent / "plain", kinds=(), draw=False)
    summary = run(folder, size=20, stages=(Find, Reconstruct))
    rows = {(r["picture"], r["frame"], r["index"]): r for r in read(folder, tables.HANDS)}
    assert rows.keys() == made.keys() and len(rows) == summary.hands >= 10
    for key, (hand, rest) in made.items():
        row = rows[key]
        assert (*row["image_size"], row["time_s"], row["track"]) == rest
        for name, value in hand._asdict().items():
            if isinstance(value, np.ndarray) and name != "colors":
                found = np.array(row[name], np.float32).reshape(tables.SHAPES[name])
                np.testing.assert_array_equal(found, np.float32(value), err_msg=name)
            elif name != "colors":
                assert row[name] == (np.float32(value) if name == "score" else value), name
