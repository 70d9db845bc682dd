"""A config that would train something else, or nothing, is refused by name before anything happens."""

import pathlib

import numpy as np
import pytest
from amvur_jax.configs import default
from tiny import tiny_config

import mano_jax
from amvur_jax import configuration
from amvur_jax.data.open import open_dataset, open_training
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.errors import UserError
from amvur_jax.train import train

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*_*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", CONFIGS)
def test_the_shipped_configs_are_fine(name):
    config = __import__(f"amvur_jax.configs.{name}", fromlist=[name]).get_config()
    configuration.check(config)
    assert not config.model.published_quirks
    own = name.startswith(("synthetic", "own")) or name.endswith("_hand")
    assert config.model.spread_head == own


def test_own_pictures_teach_the_shipped_network_by_2d_alone():
    own, hand = (
        __import__(f"amvur_jax.configs.{n}", fromlist=[n]).get_config()
        for n in ("own_weak", "hand")
    )
    assert configuration.network(own) == configuration.network(hand)
    assert own.init_from == "shipped" and own.train.freeze_batch_norm
    assert own.loss.kl > 0 and own.loss.tsa_pose > 0 and own.loss.use_3d
    (stream, *_), (mine, _, labels) = own.data.mix
    assert (stream, mine, labels) == ("stream", "data/mine", "2d")
    assert own.train.batch_size * own.train.steps < 32_000  # minutes, not hours


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.endswith("_hand")])
def test_the_variants_with_other_heads_have_the_published_backbone_data_and_labels(name):
    """What is published stays: backbone, crop, batch and epochs; weak ones see no 3D label."""
    variant, published = (
        __import__(f"amvur_jax.configs.{n}", fromlist=[n]).get_config()
        for n in (name, name.removesuffix("_hand"))
    )
    for part in ("model.backbone", "data", "model.image_size", "loss.mode", "model.camera"):
        first, *rest = part.split(".")
        ours, theirs = variant[first], published[first]
        for field in rest:
            ours, theirs = ours[field], theirs[field]
        assert ours == theirs, part
    assert (variant.train.steps, variant.train.batch_size) == (
        published.train.steps,
        published.train.batch_size,
    )
    assert variant.model.pose_head == "residual" and published.model.pose_head == "published"
    assert not variant.loss.use_3d


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("loss.norm", "L1", ["'L1'", "'l2' or 'l1'"]),
        ("loss.kl_2d", "Unit", ["'Unit'", "'prior' or 'unit'"]),
        ("loss.kl_vertices_distance", "Abs", ["'Abs'", "'abs' or 'square'"]),
        ("model.fingertips", "mano", ["'mano'", "'freihand'"]),
        ("train.schedule", "linear", ["'linear'", "'step' or 'cosine'"]),
        ("model.heads", 0, ["0", "from 1 on"]),
        ("model.heads", 3, ["3", "divide", "config.model.hidden"]),
        ("model.texture_heads", 3, ["3", "config.model.texture_hidden"]),
        ("model.pose_components", 46, ["46", "from 1 to 45"]),
        ("model.camera_init", (1.0, 2.0), ["(1.0, 2.0)", "give 4"]),
        ("model.image_size", 100, ["100", "multiple of 32"]),
        ("model.camera", "weak_perspective", ["'weak_perspective'", "config.loss.mode"]),
        ("train.ema_decay", 2.0, ["2.0", "from 0 to 0.999999"]),
        ("train.learning_rate", float("nan"), ["nan", "from 0 on"]),
        ("train.steps", -1, ["-1", "from 1 on"]),
        ("train.batch_size", 0, ["0", "from 1 on"]),
        ("train.accumulate", 0, ["0", "from 1 on"]),
        ("train.log_every", -1, ["-1", "from 0 on"]),
        ("train.best_metric", "pa_mpjpe", ["'pa_mpjpe'", "pa_mpjpe_mm"]),
        ("train.warmup_steps", 9, ["9", "config.train.steps"]),
        ("data.workers", -1, ["-1", "from 0 to 1024"]),
        ("data.masks", "masks", ["'masks'", "config.loss.occlusion='labels'"]),
        ("data.group", 0, ["0", "from 1 on"]),
        ("data.group", 3, ["3", "divide config.train.batch_size"]),
        ("loss.same_shape", 1.0, ["1.0", "config.data.group to 2 or more"]),
        ("loss.smooth_pose", 1.0, ["1.0", "config.data.group to 2 or more"]),
        ("loss.occlusion", "label", ["'label'", "'off' or 'labels' or 'robust'"]),
        ("data.augment.shift", 0.7, ["0.7", "from 0 to 0.5"]),
        ("seed", -1, ["-1", "from 0 to"]),
    ],
)
def test_what_makes_no_sense_is_named_before_anything_is_written(
    tree, tmp_path, field, value, words
):
    config = tiny_config(tree)
    config.eval.every = 2
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError) as error:
        train(config, tmp_path / "run")
    assert f"config.{field}:" in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("head", "weight"),
    [("spread_head", "nll"), ("keypoint_head", "keypoint_map"), ("keypoint_head", "heat")],
)
def test_a_loss_of_a_head_wants_the_head(head, weight):
    config = tiny_config("")
    config.model[head] = False
    config.loss.keypoint_map = config.loss.nll = 0.0
    config.loss[weight] = 1.0
    with pytest.raises(UserError, match=rf"config\.loss\.{weight}: .*config\.model\.{head}=True"):
        configuration.check(config)


@pytest.mark.parametrize(
    ("field", "value", "named", "remedy"),
    [
        ("train.accumulate", 2, "data.group", "config.train.accumulate=1"),
        ("model.predict_shape", False, "loss.same_shape", "config.model.predict_shape=True"),
    ],
)
def test_what_compares_samples_wants_whole_groups_and_heads_to_compare(field, value, named, remedy):
    config = tiny_config("", batch_size=4)
    config.data.group = 2
    config.loss.same_shape = config.loss.smooth_pose = 1.0
    configuration.check(config)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=rf"config\.{named}: .*{remedy}"):
        configuration.check(config)


@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_configs_but_that_of_sequences_compare_no_samples(name):
    config = __import__(f"amvur_jax.configs.{name}", fromlist=[name]).get_config()
    compared = [config.loss[term] for term in ("same_shape", "smooth_pose")]
    off = config.data.group == 1 and not any(compared)
    assert off == (name != "synthetic_sequences")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A small synthetic tree of each layout."""
    roots = {name: tmp_path_factory.mktemp(name) for name in ("ho3d_v2", "ho3d_v3", "freihand")}
    for layout, root in roots.items():
        make_synthetic(root, 2, 1, layout=layout)
    return roots


def settled(*roots, fingertips="auto"):
    config = tiny_config(roots[0])
    config.data.mix = tuple((str(root), 1.0) for root in roots)
    config.model.fingertips = fingertips
    found = configuration.settled(config, open_training(config.data)).model.fingertips
    assert config.model.fingertips == fingertips  # the caller's stays as it was
    return found


@pytest.mark.parametrize("layout", ["ho3d_v2", "ho3d_v3", "freihand"])
def test_fingertips_are_the_vertices_of_the_labels(roots, layout):
    joints, vertices = open_dataset(roots[layout], "evaluation").ground_truth
    regressor = mano_jax.load_hand().joint_regressor_21(settled(roots[layout]))
    tips = [4, 8, 12, 16, 20]
    np.testing.assert_allclose((regressor @ vertices[0])[tips, :], joints[0, tips], atol=2e-6)


def test_a_mix_of_different_fingertips_warns_and_names_them(roots, caplog):
    assert settled(roots["ho3d_v2"], roots["ho3d_v3"]) == "ho3d"
    assert settled(roots["freihand"], roots["ho3d_v2"], fingertips="manopth") == "manopth"
    assert not caplog.records
    assert settled(roots["freihand"], roots["ho3d_v2"]) == "freihand"
    (warning,) = caplog.messages
    for words in (f"freihand in {roots['freihand']}", f"ho3d in {roots['ho3d_v2']}", "fingertips"):
        assert words in warning


def test_an_unknown_and_a_missing_field_are_named():
    config = default.get_config().to_dict()
    config["train"]["stepz"] = 3
    with pytest.raises(UserError, match=r"config\.train\.stepz: there is no such field"):
        configuration.check(config)
    del config["train"]["stepz"], config["loss"]["kl"]
    with pytest.raises(UserError, match=r"config\.loss\.kl: is missing"):
        configuration.check(config)


def test_every_number_and_every_limit_is_of_a_field_of_the_default():
    fields = configuration._flat(default.get_config())
    assert set(default.LIMITS) <= set(fields)
    for name, value in fields.items():
        if isinstance(value, (int, float, tuple)) and not isinstance(value, bool):
            assert name in default.LIMITS or name == "data.mix"
        if name in default.LIMITS and isinstance(value, str):
            assert value in default.LIMITS[name]
