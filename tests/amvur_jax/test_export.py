"""A network as a zip for those who have none of our code: what runs it, what it says, what is refused."""

import ast
import dataclasses
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from documents import python_blocks
from tiny import supervised_tiny_config, tiniest_config

from amvur_jax import configuration, export, inference
from amvur_jax.data.crop import crop_box, crop_matrix
from amvur_jax.data.readers.photos import Photos
from amvur_jax.data.sample import make_sample
from amvur_jax.errors import UserError
from amvur_jax.exported import program as programs
from amvur_jax.weights import SHIPPED

ROOT = pathlib.Path(__file__).parents[2]
# In .ci/run the Python of an environment with the newest jax.
PYTHON = os.environ.get("TEST_LOADER") or sys.executable
OURS = ("amvur_jax", "mano_jax", "render", "flax", "optax", "orbax", "cv2")
CALL = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({OURS}))  # None: cannot be imported
loader, path, given, found = sys.argv[1:]
import numpy as np
network = runpy.run_path(loader)["Network"](path)
np.savez(found, faces=network.faces, **network(**np.load(given)))
"""


def predictor_of(config, **model):
    """A Predictor of random numbers, which are sooner made than a fresh network."""
    config.model.update(model, layers=0, pose_blocks=1)
    config = configuration.to_dict(config)
    network, rng = configuration.network(config), np.random.default_rng(0)

    def numbers(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        spread = leaf.shape[-2] ** -0.5 / leaf.ndim if name == "kernel" else 0.1
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    state = jax.tree_util.tree_map_with_path(numbers, network.shapes)
    camera = state["params"]["prior"]["camera"]["out"]
    camera["kernel"] *= 0.01
    camera["bias"] = np.float32(network.config.camera_init)
    return inference.Predictor(network, configuration.hand(config), state, config, 2.0, 3.0)


@pytest.fixture(scope="module")
def predictor():
    parts = {"pose_head": "residual", "keypoint_head": True, "keypoints": "either"}
    made = predictor_of(tiniest_config(""), **parts, spread_head=True, spread_cues=True)
    made.state["params"]["keypoints"]["heat"]["kernel"] *= 50  # joints not all in the middle
    return made


@pytest.fixture(scope="module")
def written(predictor, tmp_path_factory):
    """The zip of a small network, and the checksum that was told."""
    path = tmp_path_factory.mktemp("exported") / "hand.zip"
    return path, export.export(predictor, path, "CC0-1.0")


@pytest.fixture(scope="module")
def given(predictor):
    """Crops with all joints, with some, and with none."""
    rng, side = np.random.default_rng(0), predictor.size
    joints = rng.uniform(0.2 * side, 0.8 * side, (3, 21, 2)).astype(np.float32)
    joints[1, 3], joints[2] = np.nan, np.nan
    depth = rng.normal(0, 2, (3, 21)).astype(np.float32)
    depth[1, 5:] = np.nan
    return {
        "images": rng.integers(0, 256, (3, side, side, 3), dtype=np.uint8),
        "joints": joints,
        "depth": depth,
        "off": np.array([0.03, 0.1, 0.2], np.float32),
    }


def run_alone(path, given, folder):
    """What the document's loader gives in a process that has none of our code."""
    (folder / "loader.py").write_text(python_blocks("docs/export.md")[0])
    np.savez(folder / "given.npz", **given)
    files = [folder / "loader.py", path, folder / "given.npz", folder / "found.npz"]
    done = subprocess.run(
        [PYTHON, "-c", CALL, *map(str, files)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "found.npz"))


@pytest.fixture(scope="module")
def found(written, given, tmp_path_factory):
    return run_alone(written[0], given, tmp_path_factory.mktemp("alone"))


def about_of(path):
    return json.loads(zipfile.ZipFile(path).read("about.json"))


def is_the_answer(found, answered, temperatures):
    """To a micrometre and a millionth; parameters as their rounding allows."""
    np.testing.assert_allclose(found["vertices"], answered.view.vertices, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["joints"], answered.view.joints, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["K"], answered.view.K, rtol=1e-6)
    np.testing.assert_allclose(found["finger_pose"], answered.fingers, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["betas"], answered.betas, rtol=1e-5, atol=1e-5)
    for name in ("vertices", "joints"):
        variance = np.exp(np.asarray(getattr(answered.sigma, name), np.float64)).mean(-1)
        sigma = 1000 * np.sqrt(np.array(temperatures)[:, None] * variance)
        np.testing.assert_allclose(found[f"{name}_sigma_mm"], sigma, rtol=1e-5)


def test_without_our_code_it_gives_the_predictors_answer(predictor, given, found):
    is_the_answer(found, predictor.answered(paint=0, **given), [3, 3, 2])
    np.testing.assert_array_equal(found["faces"], predictor.hand.faces)


def test_the_parameters_give_the_mesh(predictor, found):
    @jax.jit
    def mesh(found):
        pose = jnp.pad(found["finger_pose"], ((0, 0), (1, 0), (0, 0)))
        posed = predictor.hand.with_shape(found["betas"]).with_pose(pose)
        wrist = posed.joints[:, :1]
        turned = jnp.einsum("bij,bnj->bni", found["wrist_matrix"], posed.vertices - wrist)
        return turned + wrist + found["translation"][:, None]

    np.testing.assert_allclose(mesh(found), found["vertices"], atol=1e-5)


def test_it_says_what_goes_in_and_comes_out(predictor, written, given, found):
    path, checksum = written
    about = about_of(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {"about.json", *about["files"]}
        for name, entry in about["files"].items():
            data = archive.read(name)
            assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    for entries, arrays in ((about["inputs"], given), (about["outputs"], found)):
        assert {e["name"] for e in entries} == arrays.keys() - {"faces"}
        for entry in entries:
            array = arrays[entry["name"]]
            assert entry["shape"] == ["batch", *array.shape[1:]] and entry["dtype"] == array.dtype
            assert entry["unit"] and entry["frame"] and entry["about"]
    assert about["licence"]["weights"] == "CC0-1.0"
    assert about["sigma"]["temperature_of_given_joints"] == 3.0


def test_another_hand_model_keeps_its_licence(predictor):
    own = dataclasses.replace(predictor, config=predictor.config | {"hand": "MANO_RIGHT.pkl"})
    shapes = jax.eval_shape(lambda: {"vertices": jnp.zeros((1, 778, 3))})
    licences = [export.about(p, {}, shapes, "")["licence"]["hand_model"] for p in (predictor, own)]
    assert "CC0" in licences[0] and "CC0" not in licences[1] and "MANO" in licences[1]


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (3000, 2000), (100, 80)])
@pytest.mark.parametrize("box", [(10, 20, 60, 75), (-30, 5, 70, 60), (40, 40, 41, 41)])
def test_the_crop_is_cut_as_it_says(written, predictor, size, box):
    """The words of about.json, done by hand, with its numbers."""
    cut = about_of(written[0])["crop"]
    u = max(max(size) / 640, min(size) / 480)
    x1, y1 = (max(x, 0) - cut["padding_u"] * u for x in box[:2])
    x2, y2 = (min(x, n) + cut["padding_u"] * u for x, n in zip(box[2:], size))
    low, high = (x * u for x in cut["side_range_u"])
    side = cut["scale"] * cut["shown"] * min(max(2 * max(x2 - x1, y2 - y1), low), high)
    centre = np.array([x1 + x2, y1 + y2]) / 2
    wanted, length, usable = crop_box(box, size)
    assert usable
    np.testing.assert_allclose([*centre, side], [*wanted, predictor.crop_scale * length])
    point = np.array([17.0, 5.0])
    seen = crop_matrix(wanted, predictor.crop_scale * length, predictor.size) @ [*point, 1]
    by_hand = (point - centre) * cut["size_px"] / side + cut["size_px"] / 2
    np.testing.assert_allclose(by_hand, seen[:2])
    for number in ("padding_u", "scale", "size_px"):
        assert f"{cut[number]:g}" in " ".join(cut["words"])


def test_the_program_runs_elsewhere_and_says_nothing_of_where_it_was_made(written):
    data = zipfile.ZipFile(written[0]).read("network.jax_export")
    exported = jax.export.deserialize(bytearray(data))
    assert exported.platforms == ("cpu", "cuda")
    text = exported.mlir_module()
    assert set(re.findall(r"custom_call @(\w+)", text)) <= {"shape_assertion"}
    assert b".py" not in data and str(ROOT).encode() not in data


def test_a_program_that_calls_what_others_lack_is_refused(predictor):
    def program(function):
        image = jax.ShapeDtypeStruct((1, 3, 3), np.float32)
        return programs.Program(function, {"images": image}, {}, {})

    with pytest.raises(ValueError, match="the program calls"):  # LAPACK's
        programs.stablehlo(program(lambda _, x: jnp.linalg.svd(x)))


def test_the_loader_is_the_documents_and_needs_little(written):
    (text,) = {
        python_blocks("docs/export.md")[0],
        zipfile.ZipFile(written[0]).read("loader.py").decode(),
        (ROOT / "amvur_jax" / "exported" / "loader.py").read_text(),
    }
    tree = ast.parse(text)
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    foreign = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert foreign == {"jax", "numpy", "safetensors"}
    lines = [line for line in text.splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 30


def test_what_is_damaged_or_misnamed_is_not_run(written, tmp_path):
    pytest.importorskip("safetensors")
    loader = {}
    exec(python_blocks("docs/export.md")[0], loader)
    damaged = tmp_path / "hand.zip"
    with zipfile.ZipFile(written[0]) as archive, zipfile.ZipFile(damaged, "w") as changed:
        for name in archive.namelist():
            data = bytearray(archive.read(name))
            data[-1] ^= name == "weights.safetensors"
            changed.writestr(name, bytes(data))
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged"):
        loader["Network"](damaged)
    network = loader["Network"](written[0])
    with pytest.raises(TypeError, match="takes no joint"):
        network(np.zeros((1, 32, 32, 3), np.uint8), joint=None)
    with pytest.raises(TypeError, match="Cannot cast"):
        network(np.zeros((1, 32, 32, 3)))


def test_a_network_that_takes_no_joints_has_no_such_input():
    config = supervised_tiny_config("")
    config.model.backbone.modules = (0, 0, 0)
    predictor = predictor_of(config)
    assert set(programs.inputs_of(predictor)) == {"images"}
    arrays = programs.arrays_of(predictor)
    image = jax.ShapeDtypeStruct((2, 32, 32, 3), np.uint8)
    outputs = jax.eval_shape(programs.answer(predictor), arrays, image)
    # A mesh of the network's own has parameters that no rotation brings onto it.
    assert "vertices" in outputs and not {"wrist_matrix", "translation"} & outputs.keys()


def test_it_is_written_whole_or_not_at_all_with_the_same_bytes(predictor, monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "program", lambda p: programs.Program(None, {}, {}, {}))
    exported = type("Exported", (), {"serialize": lambda self: bytearray(b"program")})
    monkeypatch.setattr(programs, "stablehlo", lambda program: exported())
    files = [tmp_path / "a.zip", tmp_path / "b.zip"]
    assert len({export.export(predictor, file, "") for file in files}) == 1
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError()))
    before = files[0].read_bytes()
    with pytest.raises(UserError, match=r"a\.zip: cannot be written"):
        export.export(predictor, files[0], "")
    assert files[0].read_bytes() == before and len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_done_is_said_at_once(monkeypatch, tmp_path):
    there = tmp_path / "hand.zip"
    there.write_bytes(b"")
    export.check(there, overwrite=True)
    with pytest.raises(UserError, match=r"hand\.zip: is there already.*--overwrite"):
        export.check(there, overwrite=False)
    with pytest.raises(UserError, match=r"hand\.npz: give a file that ends in \.zip"):
        export.check(tmp_path / "hand.npz", overwrite=False)
    with pytest.raises(UserError, match=r"nowhere/hand\.zip: .*folder"):
        export.check(tmp_path / "nowhere" / "hand.zip", overwrite=False)
    find = importlib.util.find_spec
    for missing in ("safetensors", "flatbuffers"):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, gone=missing: name != gone and find(name)
        )
        with pytest.raises(UserError, match=rf"needs {missing}: pip install 'amvur-jax\[export\]'"):
            export.check(tmp_path / "new.zip", overwrite=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(jax, "__version_info__", (0, 11, 2))
    export.check(tmp_path / "new.zip", overwrite=False, with_onnx=True)
    monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))
    export.check(tmp_path / "new.zip", overwrite=False)
    with pytest.raises(UserError, match=r"--onnx: jax2onnx 0\.17 .* pip install 'jax<0\.12'"):
        export.check(tmp_path / "new.zip", overwrite=False, with_onnx=True)


def test_a_supervised_network_is_not_written_as_onnx(tmp_path):
    """jax2onnx 0.17.1 takes no `pad` of a symbolic batch."""
    supervised = predictor_of(supervised_tiny_config(""))
    with pytest.raises(UserError, match=r"^--onnx: .*supervised.*leave --onnx away"):
        export.export(supervised, tmp_path / "hand.zip", "", with_onnx=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_shipped_network_gives_its_answer_on_photographs(tmp_path):
    predictor, photos = inference.load(), Photos(SHIPPED.parent / "photos")
    samples = [
        make_sample(photos.frame(i), predictor.size, crop_scale=predictor.crop_scale)
        for i in range(len(photos))
    ]
    given = {
        "images": np.stack([s["image"] for s in samples]),
        "joints": np.stack([s["joints_2d"] for s in samples]).astype(np.float32) * predictor.size,
    }
    export.export(predictor, tmp_path / "hand.zip", "Apache-2.0")
    own, of_given = predictor.temperature, predictor.temperature_given
    path, images = tmp_path / "hand.zip", given["images"]
    found = run_alone(path, given, tmp_path)
    is_the_answer(found, predictor.answered(paint=0, **given), [of_given] * len(samples))
    alone = run_alone(path, {"images": images[:1]}, tmp_path)  # another batch, and no joints
    is_the_answer(alone, predictor.answered(images[:1], paint=0), [own])


@pytest.mark.slow
def test_onnx_runtime_gives_the_same_vertices(predictor, given, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("jax2onnx", reason="jax2onnx is not installed")
    if jax.__version_info__ >= (0, 12):
        pytest.skip("jax2onnx 0.17 asks jax 0.12 for what it no longer has: pip install 'jax<0.12'")
    path = tmp_path / "hand.zip"
    export.export(predictor, path, "CC0-1.0", with_onnx=True)
    data = zipfile.ZipFile(path).read("network.onnx")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    about = about_of(path)
    names = [entry["name"] for entry in about["outputs"]]
    assert [x.name for x in session.get_inputs()] == [e["name"] for e in about["inputs"]]
    assert [x.name for x in session.get_outputs()] == [f"{name}_out" for name in names]
    for count in (3, 1):
        part = {name: array[:count] for name, array in given.items()}
        found = dict(zip(names, session.run(None, part)))
        wanted = predictor.answered(paint=0, **part)
        np.testing.assert_allclose(found["vertices"], wanted.view.vertices, atol=1e-4)
        np.testing.assert_allclose(found["joints"], wanted.view.joints, atol=1e-4)
