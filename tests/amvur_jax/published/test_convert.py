"""Published weights to our checkpoints: every size of HRNet, the whole network, refused files."""

import collections
import dataclasses
import json
import pickle
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
import reference
from amvur_jax.configs import ho3d_supervised, ho3d_weak
from tiny import tiny_config
from trees import write_ho3d

import mano_jax
from amvur_jax import checkpoint, configuration, evaluate, inference
from amvur_jax.errors import UserError
from amvur_jax.models.hrnet import HRNetSize
from amvur_jax.published import convert, names

NEEDS_TORCH = "PyTorch is not installed: pip install -e '.[convert]'"


def conv(name, out, source, kernel, bias=False):
    yield f"{name}.weight", (out, source, kernel, kernel)
    if bias:
        yield f"{name}.bias", (out,)


def norm(name, features, counters):
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{leaf}", (features,)
    if counters:
        yield f"{name}.num_batches_tracked", ()


def official_hrnet(size, counters=True):
    """Yields (name, shape) of an official HRNet classifier, its configuration written out anew."""
    widths = [size.width * 2**i for i in range(4)]

    def unit(name, out, source, kernel, names=("0", "1"), bias=False):
        yield from conv(f"{name}{names[0]}", out, source, kernel, bias)
        yield from norm(f"{name}{names[1]}", out, counters)

    def numbered(name, i, out, source, kernel):
        yield from unit(f"{name}.", out, source, kernel, (f"conv{i}", f"bn{i}"))

    def bottleneck(name, source, planes):
        yield from numbered(name, 1, planes, source, 1)
        yield from numbered(name, 2, planes, planes, 3)
        yield from numbered(name, 3, 4 * planes, planes, 1)
        if source != 4 * planes:
            yield from unit(f"{name}.downsample.", 4 * planes, source, 1)

    yield from unit("", 64, 3, 3, ("conv1", "bn1"))
    yield from unit("", 64, 64, 3, ("conv2", "bn2"))
    stage1 = 4 * size.stage1_planes
    for i in range(size.stage1_blocks):
        yield from bottleneck(f"layer1.{i}", stage1 if i else 64, size.stage1_planes)
    yield from unit("transition1.0.", widths[0], stage1, 3)
    yield from unit("transition1.1.0.", widths[1], stage1, 3)
    yield from unit("transition2.2.0.", widths[2], widths[1], 3)
    yield from unit("transition3.3.0.", widths[3], widths[2], 3)
    for stage, modules, blocks in zip((2, 3, 4), size.modules, size.blocks):
        for m in range(modules):
            for b in range(stage):
                for k in range(blocks):
                    for i in (1, 2):
                        name = f"stage{stage}.{m}.branches.{b}.{k}"
                        yield from numbered(name, i, widths[b], widths[b], 3)
            for i in range(stage):
                for j in range(stage):
                    name = f"stage{stage}.{m}.fuse_layers.{i}.{j}."
                    if j > i:
                        yield from unit(name, widths[i], widths[j], 1)
                    for k in range(i - j):
                        out = widths[i] if k == i - j - 1 else widths[j]
                        yield from unit(f"{name}{k}.", out, widths[j], 3)
    head = [4 * p for p in size.head_planes]
    for i, planes in enumerate(size.head_planes):
        yield from bottleneck(f"incre_modules.{i}.0", widths[i], planes)
    for i in range(3):
        yield from unit(f"downsamp_modules.{i}.", head[i + 1], head[i], 3, bias=True)
    yield from unit("final_layer.", size.features, head[3], 1, bias=True)
    yield "classifier.weight", (1000, size.features)
    yield "classifier.bias", (1000,)


# the depths of the official sizes, at widths that are quick to write
SIZES = {
    "small_v1": HRNetSize(4, (1, 1, 1), (2, 2, 2), 1, 6, (2, 3, 4, 5), 7),
    "small_v2": HRNetSize(6, (1, 3, 2), (2, 2, 2), 2, 4, (2, 3, 4, 5), 7),
    "w18_to_w64": HRNetSize(3, (1, 4, 3), (4, 4, 4), 4, 5, (2, 3, 4, 5), 7),
}


def made_up(keys):
    """A state dict of names and shapes."""
    return {name: reference.make_weight("backbone." + name, shape) for name, shape in keys}


def weak_config():
    return ho3d_weak.get_config().to_dict()


@pytest.mark.parametrize("which", ["small", "full"])
def test_written_out_names_are_the_recorded_ones(which):
    size = {"small": reference.SMALL, "full": reference.FULL}[which].backbone
    recorded = json.loads((reference.DATA / "state_dict_keys.json").read_text())[which]
    recorded = {key: tuple(shape) for key, shape, _ in recorded if key.startswith("backbone.")}
    assert {f"backbone.{k}": shape for k, shape in official_hrnet(size)} == recorded


@pytest.mark.parametrize(
    ("name", "counters"), [("small_v1", True), ("small_v2", False), ("w18_to_w64", True)]
)
def test_every_size_of_hrnet_converts(name, counters):
    tensors = made_up(official_hrnet(SIZES[name], counters))
    state, config = convert.convert_hrnet(tensors, weak_config())
    assert HRNetSize(**config["model"]["backbone"]) == SIZES[name]
    count = sum(leaf.size for leaf in jax.tree.leaves(state))
    dropped = sum(
        t.size for k, t in tensors.items() if k.startswith("classifier") or "num_batches" in k
    )
    assert count == sum(t.size for t in tensors.values()) - dropped
    kernel = state["params"]["backbone"]["stem1"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), tensors["conv1.weight"])


@pytest.mark.parametrize("which", ["small", "full"])
def test_every_recorded_name_is_found_again_from_ours(which):
    recorded = json.loads((reference.DATA / "state_dict_keys.json").read_text())[which]
    used = 0
    for key, shape, _ in recorded:
        entry = names.convert_entry(key, np.broadcast_to(np.float32(0), shape))
        if entry is not None:
            assert names.published_name(entry[0]) == key
            used += 1
    assert used > 500


def test_left_over_missing_and_misshapen_tensors_are_one_error():
    tensors = made_up(official_hrnet(SIZES["small_v1"]))
    tensors["extra_head.weight"] = np.zeros((3, 3), np.float32)
    tensors["bn2.weight"] = np.zeros(65, np.float32)
    tensors["bn1.weight"] = np.full(64, np.nan, np.float32)
    del tensors["stage3.0.fuse_layers.2.0.1.1.running_var"]
    with pytest.raises(UserError) as error:
        convert.convert_hrnet(tensors, weak_config())
    for words in (
        "backbone.extra_head.weight",
        "backbone.stage3.0.fuse_layers.2.0.1.1.running_var",
        "(here batch_stats/backbone/stage3/module0/fuse/to2_from0/step1/norm/var)",
        "backbone.bn2.weight: (65,)",
        "backbone.bn1.weight: holds NaN",
    ):
        assert words in str(error.value)


def test_input_that_is_no_hrnet_is_named():
    with pytest.raises(UserError, match=r"no tensor backbone\.transition1\.0\.0\.weight"):
        convert.convert_hrnet({"fc.weight": np.zeros((3, 3))}, weak_config())


def test_whole_network_converts_with_its_sizes(small_weights, small_state):
    state, config = convert.convert_amvur(small_weights, ho3d_supervised.get_config().to_dict())
    network = configuration.network(config)
    expected = vars(reference.SMALL) | {"camera": "weak_perspective"}
    for field in ("published_quirks", "backbone", "hidden", "outputs", "layers", "camera"):
        assert getattr(network.config, field) == expected[field], field
    assert network.config.pose_components == 30 and network.config.texture_hidden == 216
    same = jax.tree.map(lambda a, b: bool((a == b).all()), state, small_state)
    assert jax.tree.all(same)


def zero_state(config):
    shapes = configuration.network(config).shapes
    return jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)


@pytest.fixture(scope="module")
def backbone_run(tmp_path_factory):
    """A run's folder with a converted backbone alone, and that backbone."""
    folder = tmp_path_factory.mktemp("backbone")
    tensors = made_up(official_hrnet(SIZES["small_v1"]))
    state, config = convert.convert_hrnet(tensors, weak_config())
    checkpoint.save_model(folder, state, config)
    return folder, state


def test_backbone_alone_is_put_over_a_fresh_network(backbone_run):
    folder, backbone = backbone_run
    config = tiny_config(folder)
    config.model.backbone = checkpoint.read_config(folder)["model"]["backbone"]
    fresh = zero_state(config)
    state = checkpoint.restore_part(folder, fresh)
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    for part in ("params", "batch_stats"):
        restored = state[part].pop("backbone")
        assert jax.tree.all(
            jax.tree.map(lambda a, b: bool((a == b).all()), restored, backbone[part]["backbone"])
        )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state))


def test_backbone_of_another_size_is_refused(backbone_run):
    folder, _ = backbone_run
    with pytest.raises(UserError, match=r"another architecture.*differences") as error:
        checkpoint.restore_part(folder, zero_state(tiny_config(folder)))
    assert "backbone" in str(error.value) and "config.model" in str(error.value)


def test_backbone_alone_is_no_network_to_evaluate(backbone_run):
    with pytest.raises(UserError, match="missing from the checkpoint"):
        inference.load(backbone_run[0])


def test_folder_with_a_checkpoint_is_not_overwritten(backbone_run):
    with pytest.raises(UserError, match="holds checkpoints already"):
        convert.convert("hrnet", "any.pth", backbone_run[0], weak_config())


def test_the_sizes_are_left_beside_the_checkpoint(tmp_path, monkeypatch):
    tensors = made_up(official_hrnet(SIZES["small_v1"]))
    monkeypatch.setattr(convert, "read_state_dict", lambda path: tensors)
    convert.convert("hrnet", "any.pth", tmp_path / "run", weak_config())
    left = json.loads((tmp_path / "run" / "config.json").read_text())
    assert left["model"]["backbone"]["stage1_planes"] == 6
    assert left == json.loads(json.dumps(checkpoint.read_config(tmp_path / "run")))


# ---- with PyTorch itself


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason=NEEDS_TORCH)


class Pickled:
    """What a pickle of a class of one's own looks like to who does not have it."""


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_both_formats_are_read(torch, tmp_path, zipped):
    tensors = made_up(official_hrnet(SIZES["small_v2"]))
    content = collections.OrderedDict((k, torch.tensor(v)) for k, v in tensors.items())
    path = tmp_path / "hrnet.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(path) == zipped
    read = convert.read_state_dict(path)
    assert set(read) == set(tensors)
    for name, array in read.items():
        np.testing.assert_array_equal(array, tensors[name], err_msg=name)
    convert.convert("hrnet", path, tmp_path / "run", weak_config())
    assert checkpoint.read_config(tmp_path / "run")["model"]["backbone"]["modules"] == [1, 3, 2]


@pytest.mark.slow
def test_other_files_are_refused_with_the_reason(torch, tmp_path):
    def refused(content, words):
        path = tmp_path / "input.bin"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(UserError, match=words) as error:
            convert.read_state_dict(path)
        assert str(path) in str(error.value)

    refused(Pickled(), "pickled classes, as the published model.bin is.*state_dict.bin")
    refused(torch.nn.Linear(2, 2), "pickled classes")
    refused(pickle.dumps(Pickled()), "pickled classes")
    refused(b"", "cannot be read")
    refused(b"\x80\x02not a file", "cannot be read")
    refused([torch.zeros(3)], "something else than named tensors")
    refused({"epoch": 3, "state_dict": {"a": torch.zeros(3)}}, "something else than named tensors")
    refused({}, "something else than named tensors")
    with pytest.raises(UserError, match="no such file"):
        convert.read_state_dict(tmp_path / "nothing.bin")


@pytest.fixture(scope="module")
def published(torch, tmp_path_factory, full_weights):
    """A made-up published state dict of full size, converted by the script, with its hand."""
    folder = tmp_path_factory.mktemp("published")
    path = folder / "state_dict.bin"
    torch.save({k: torch.from_numpy(v) for k, v in full_weights.items()}, path)
    mano_jax.save_hand(folder / "hand.npz", reference.hand())

    def convert(camera):
        script = reference.DATA.parents[1] / "scripts" / "convert_torch.py"
        flags = [f"--input={path}", f"--mano={folder / 'hand.npz'}", f"--camera={camera}"]
        flags += ["--kind=amvur", f"--output={folder / camera}"]
        subprocess.run([sys.executable, script, *flags], check=True, timeout=300)
        return folder / camera

    return convert


@pytest.mark.slow
@pytest.mark.parametrize("camera", ["persp", "ortho"])
def test_converted_network_of_full_size_is_the_one_of_the_recorded_runs(
    published, full_state, camera, tmp_path
):
    """The same network, parameters and hand, bit for bit, as test_amvur.py runs against the record."""
    predictor = inference.load(published(reference.CAMERAS[camera]))
    recorded = reference.network(reference.FULL, camera).config
    assert predictor.network.config.regressor_tips == recorded.regressor_tips
    same = {"weak_camera_init": None, "fingertips": recorded.fingertips}
    assert dataclasses.replace(predictor.network.config, **same) == recorded
    pairs = (predictor.state, full_state), (vars(predictor.hand), vars(reference.hand()))
    for ours, expected in pairs:
        assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b), ours, expected))
    if camera == "ortho":  # once through the evaluation as well
        write_ho3d(tmp_path / "data", train=1, evaluation=2)
        scores = evaluate.evaluate(predictor, tmp_path / "out", tmp_path / "data", batch_size=1)
        assert (tmp_path / "out" / "pred.zip").is_file() and np.isfinite(scores["pa_mpjpe_mm"])
