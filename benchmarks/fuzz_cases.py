"""What `benchmarks/fuzz.py` reads: each reader of a user's files, with valid ones of it."""

import io
import json
import pathlib
import tempfile
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import orjson

import mano_jax
from amvur_jax import weights
from amvur_jax.data.readers import hands_csv
from amvur_jax.data.readers.ho3d_coco import Annotations
from amvur_jax.data.readers.photos import HANDS_JSON, Photos
from amvur_jax.files.image import read_image
from amvur_jax.hands.numbers import read_lines
from amvur_jax.hands.pictures import read_boxes
from amvur_jax.predictions.reader import read_predictions
from benchmarks.fuzz_changes import bytes_changed, pickle_changed, text_changed, zip_changed
from mano_jax.coarse import read_downsampling, sparse_to_dense
from mano_jax.pickle_reader import read_pickle
from tests.fixtures import fake_mano, mano_files, trees

ASSETS = pathlib.Path(weights.__file__).parent / "assets"


class Case(NamedTuple):
    """A reader of files of this name, or suffix; valid ones; and how they are changed."""

    name: str
    read: Callable[[pathlib.Path], object]
    seeds: list[bytes]
    change: Callable[[np.random.Generator, bytes], bytes]


def _meta():
    labels = trees.train_meta(np.random.default_rng(0))
    seeds = [mano_files.numpy1_bytes(labels, protocol) for protocol in range(6)]
    seeds += [mano_files.python2_bytes(labels, protocol) for protocol in range(3)]
    return Case(".pkl", lambda path: read_pickle(path, "ho3d_meta"), seeds, pickle_changed)


def _mano():
    fields = fake_mano.make_fake_mano()
    # Eight vertices of most fields: what the reader does is the same, and sooner done.
    short = {name: fields[name][:8] for name in ("v_template", "posedirs", "weights")}
    fields |= short | {"J_regressor": fields["J_regressor"][:, :8]}

    def read(path):
        content = read_pickle(path, "mano")
        regressor = content.get("J_regressor") if isinstance(content, dict) else None
        if regressor is not None:
            sparse_to_dense(regressor, path, "J_regressor")

    seeds = [mano_files.python2_mano(fields, protocol=protocol) for protocol in range(3)]
    return Case(".pkl", read, seeds, pickle_changed)


def _texts(value):
    return [orjson.dumps(value), json.dumps(value, indent=1).encode()]


def _hands_json():
    joints = np.random.default_rng(0).uniform(0, 100, (21, 2)).round(2).tolist()
    hand = {"file": "a.jpg", "hand": "left", "joints": joints}
    seeds = _texts([hand, hand | {"box": [0, 0, 100, 100]}])
    return Case(HANDS_JSON, lambda path: Photos(path.parent, "train"), seeds, text_changed)


def _boxes():
    box = {"picture": "a.jpg", "x1": 1, "y1": 2.5, "x2": 30, "y2": 40, "side": "left"}
    seeds = _texts([box, {"picture": "b.jpg", "box": [1, 2, 3, 4]}])
    return Case(".json", read_boxes, seeds, text_changed)


def _annotations():
    rng = np.random.default_rng(0)
    camera = {"focal": [600, 600], "princpt": [320, 240]}
    train = {
        "joints_coord_cam": rng.normal(0.5, 0.1, (21, 3)).round(3).tolist(),
        "mano_param": {"pose": [0.1] * 48, "shape": [0.2] * 10},
    }
    evaluation = {"bbox": [1, 2, 3, 4], "root_joint_cam": [0, 0, 1]}
    entries = [
        {"id": i, "image_id": i, "cam_param": camera} | labels
        for i, labels in enumerate((train, evaluation))
    ]
    images = [{"id": i, "file_name": f"A/rgb/000{i}.png"} for i in range(2)]

    def read(path):
        annotations = Annotations(path)
        for name in annotations.names:
            annotations.labels(name)

    seeds = _texts({"images": images, "annotations": entries})
    return Case(".json", read, seeds, text_changed)


def _predictions():
    rng = np.random.default_rng(0)
    lists = [rng.normal(0, 0.1, (1, count, 3)).round(3).tolist() for count in (21, 778)]
    return Case(".json", read_predictions, _texts(lists)[:1], text_changed)


def _lines():
    joints = [[0.5] * 3] * 21
    entry = {"picture": "a.jpg", "hand": 0, "side": "right", "box": [1, 2, 3, 4], "joints": joints}
    seeds = [orjson.dumps(entry) + b"\n" + orjson.dumps(entry) + b"\n"]
    return Case(".jsonl", lambda path: list(read_lines(path)), seeds, text_changed)


def _boxes_csv():
    seeds = [b"picture,x1,y1,x2,y2,side\na.jpg,1,2,30,40,left\nb.jpg,1,2,3,4,\n"]
    return Case(".csv", read_boxes, seeds, text_changed)


def _hands_csv():
    row = "a.jpg,0,a,0,640,480,train,right,1,,0.9," + ",".join(["10,20.5,0.9"] * 21)
    seeds = ["\n".join([",".join(hands_csv.COLUMNS), f"1,{row}", f"2,{row}", ""]).encode()]
    return Case(hands_csv.HANDS, hands_csv.read_hands, seeds, text_changed)


def _archive(name, content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _pred_zip():
    seeds = [_archive("pred.json", _predictions().seeds[0])]
    return Case(".zip", read_predictions, seeds, zip_changed)


def _pred_npz():
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros((1, 21, 3)), b=np.zeros((1, 778, 3)))
    return Case(".npz", read_predictions, [file.getvalue()], zip_changed)


def _weights():
    """Of the shipped weights what they say of themselves, and a layer."""
    file = io.BytesIO()
    with np.load(ASSETS / "hand.npz") as shipped:
        names = [name for name in shipped.files if shipped[name].ndim < 2]
        names = [name for name in names if name == "about"] + names[:8]
        np.savez_compressed(file, **{name: shipped[name] for name in names})
    return Case(".npz", weights.read_weights, [file.getvalue()], zip_changed)


def _hand():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "hand.npz"
        mano_jax.save_hand(path, mano_jax.load_hand())
        seeds = [path.read_bytes()]
    return Case(".npz", mano_jax.load_hand, seeds, zip_changed)


def _downsampling():
    path = io.BytesIO()
    mano_files.write_downsampling(path, np.eye(195, 778, dtype=np.float32))
    return Case(".npz", read_downsampling, [path.getvalue()], zip_changed)


def _picture(suffix, *flags):
    def case():
        picture = trees.picture(np.random.default_rng(0))[:64, :80]
        data = cv2.imencode(suffix, np.ascontiguousarray(picture), flags)[1].tobytes()
        return Case(suffix, read_image, [data], bytes_changed)

    return case


KINDS = {
    "pickle": {"HO-3D meta": _meta, "MANO": _mano},
    "JSON": {
        "pred.json": _predictions,
        "hands.json": _hands_json,
        "boxes": _boxes,
        "hands.jsonl": _lines,
        "HO-3D annotations": _annotations,
    },
    "CSV": {"hands.csv": _hands_csv, "boxes": _boxes_csv},
    "zip": {
        "pred.zip": _pred_zip,
        "pred.npz": _pred_npz,
        "weights": _weights,
        "hand": _hand,
        "mano_downsampling.npz": _downsampling,
    },
    "picture": {"PNG": _picture(".png"), "JPEG": _picture(".jpg"), "WebP": _picture(".webp")},
}
