"""The training step: one jitted function of state and batch, the same for one device and for many."""

import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from amvur_jax.models.amvur import normal_noise
from amvur_jax.models.cameras import relative_depth
from amvur_jax.models.colors import normalize
from amvur_jax.models.functional import Network
from amvur_jax.models.pose_head import Keypoints
from amvur_jax.runtime import devices
from amvur_jax.training.objective import Counts, LossConfig, count_labels, objective, without_3d
from amvur_jax.training.optimizer import global_norm, learning_rate, moving_average
from amvur_jax.training.skeletons import Labels, disturbed, draw_skeletons, pose_bank
from mano_jax import HandModel
from mano_jax.skeleton import skeleton

_Tree = TypeVar("_Tree")

# What of a batch comes back with the metrics, so that a step that went wrong names its frames.
FRAMES = ("index", "source")

# What of the state counts steps, and so changes with every one; an array each: they are donated.
COUNTS = ("step", "skipped", "skipped_in_a_row")


def state_of(
    model: dict, optimizer: optax.GradientTransformationExtraArgs, settings: ConfigDict
) -> dict:
    """The state of a run that starts from a model's, all that a step changes; to be called under jax.jit.

    Args:
      model: {"params", "batch_stats"}.
      optimizer: of amvur_jax.training.optimizer.
      settings: config.train.
    Returns:
      {"model", "optimizer", "step", "skipped", "skipped_in_a_row"}, and "average", the parameters' moving
      average, where settings.ema_decay asks for it.
    """
    state = {"model": model, "optimizer": optimizer.init(model["params"])}
    state |= {name: jnp.zeros((), jnp.int32) for name in COUNTS}
    if settings.ema_decay:
        state["average"] = jax.tree.map(jnp.copy, model["params"])
    return state


def make_step(
    network: Network,
    hand: HandModel,
    loss: LossConfig,
    optimizer: optax.GradientTransformationExtraArgs,
    settings: ConfigDict,
    seed: int,
    mesh: jax.sharding.Mesh,
    shardings: dict,
) -> jax.stages.Wrapped:
    """The jitted step (state, batch, paint) -> (state, metrics); the state is donated.

    A step whose loss, gradient or learning rate is not finite leaves parameters, statistics,
    average and optimiser as they were, and is counted.

    Args:
      network: amvur_jax.models.functional.Network.
      hand: mano_jax.HandModel.
      loss: LossConfig.
      optimizer: that of the state.
      settings: config.train.
      seed: of noise and dropout.
      mesh: of amvur_jax.runtime.devices.
      shardings: of the state, a tree of NamedSharding.
    Returns:
      The step. batch: of amvur_jax.data.sample, its first axis shared out over the mesh. paint
      (static): how many of its samples are rendered; None for all. metrics: scalars, and "frames",
      the whole batch's FRAMES.
    """
    size = network.config.image_size
    regressor = hand.joint_regressor_21(network.config.regressor_tips)
    root_key = jax.random.key(seed)
    rate = learning_rate(settings)
    parts = settings.accumulate

    source = network.config.keypoints if network.config.pose_head == "residual" else "map"
    bones = skeleton(hand, network.config.fingertips)
    bank = pose_bank() if settings.skeletons else None

    def exercise(
        key: jax.Array, batch: Mapping[str, jax.Array]
    ) -> tuple[Keypoints | None, jax.Array | None, Labels | None, Keypoints | None]:
        """Keypoints from outside and which samples get them; skeletons, true and as they are given."""
        keys = jax.random.split(key, 4)
        keypoints, given, labels, skeletons = None, None, None, None
        if source != "map":
            depth = relative_depth(batch["joints_cam"], batch["K"][:, 0, 0] / size)
            valid = 1.0 * (batch["joints_valid"] > 0)  # a detector gives a joint or none
            keypoints = disturbed(keys[0], batch["joints_2d"], depth, valid, batch["has_3d"])
            if source == "either":
                given = 1.0 * jax.random.bernoulli(keys[1], 0.5, (len(valid),)) * valid[:, 0]
        if bank is not None:
            count = settings.skeletons * len(batch["image"])
            labels = draw_skeletons(keys[2], bank, bones, count)
            one = jnp.ones_like(labels.depth)
            skeletons = disturbed(keys[3], labels.xy, labels.depth, one, one[:, 0])
        return keypoints, given, labels, skeletons

    def loss_of(
        params: dict,
        stats: dict,
        batch: Mapping[str, jax.Array],
        key: jax.Array,
        paint: int | None,
        counts: Counts | None,
    ) -> tuple[jax.Array, tuple[dict, dict[str, jax.Array]]]:
        noise_key, dropout_key = jax.random.split(key)
        keypoints, given, labels, skeletons = exercise(jax.random.fold_in(key, 2), batch)
        image = normalize(batch["image"])
        outputs, stats = network.apply(
            {"params": params, "batch_stats": stats},
            image,
            hand,
            # what shows no hand to learn from is in no statistic
            train=False if settings.freeze_batch_norm else batch["has_image"],
            key=dropout_key,
            noise=normal_noise(noise_key),
            paint=paint,
            remat=settings.remat,
            keypoints=keypoints,
            given=given,
            skeletons=skeletons,
        )
        total, terms = objective(outputs, batch, image, regressor, hand, loss, size, counts, labels)
        return total, (stats, {"total": total, **terms})

    gradient_of = jax.grad(loss_of, has_aux=True)

    def whole(
        model: dict, batch: Mapping[str, jax.Array], key: jax.Array, paint: int | None
    ) -> tuple[dict, tuple[dict, dict]]:
        return gradient_of(model["params"], model["batch_stats"], batch, key, paint, None)

    def in_parts(
        model: dict, batch: Mapping[str, jax.Array], key: jax.Array, paint: int | None
    ) -> tuple[dict, tuple[dict, dict]]:
        """The sum over `parts` parts, one after the other; statistics pass through all of them."""
        counts = count_labels(batch, loss.mode, paint)
        part_paint = paint and -(-paint // parts)

        def split(x: jax.Array) -> jax.Array:
            # each part has a share of every device's samples: nothing moves
            x = jnp.moveaxis(x.reshape(len(x) // parts, parts, *x.shape[1:]), 1, 0)
            spec = jax.sharding.PartitionSpec(None, devices.AXIS)
            return jax.lax.with_sharding_constraint(x, jax.sharding.NamedSharding(mesh, spec))

        def add(carry: tuple[dict, dict], part: tuple) -> tuple[tuple[dict, dict], dict]:
            stats, gradients = carry
            i, batch = part
            new, (stats, metrics) = gradient_of(
                model["params"], stats, batch, jax.random.fold_in(key, i), part_paint, counts
            )
            return (stats, jax.tree.map(jnp.add, gradients, new)), metrics

        zero = jax.tree.map(jnp.zeros_like, model["params"])
        carry, metrics = jax.lax.scan(
            add,
            (model["batch_stats"], zero),
            (jnp.arange(parts), jax.tree.map(split, batch)),
        )
        stats, gradients = carry
        return gradients, (stats, jax.tree.map(lambda x: x.sum(0), metrics))

    @functools.partial(
        jax.jit,
        static_argnames="paint",
        donate_argnames="state",
        out_shardings=(shardings, devices.replicated(mesh)),
    )
    def train_step(
        state: dict, batch: Mapping[str, jax.Array], paint: int | None
    ) -> tuple[dict, dict]:
        if loss.mode == "weak" and not loss.use_3d:
            batch = without_3d(batch)
        step, model = state["step"], state["model"]
        key = jax.random.fold_in(root_key, step)
        compute = whole if parts == 1 else in_parts
        gradients, (stats, metrics) = compute(model, batch, key, paint)
        if settings.freeze_batch_norm:
            gradients = without_batch_norm(gradients)
        norm = global_norm(gradients)
        # A finite norm means finite squares, and so finite moments and, with the rate, a finite update.
        fine = jnp.isfinite(metrics["total"] + norm + rate(step))

        def changed(kept: dict) -> dict:
            updates, optimizer_state = optimizer.update(
                gradients, kept["optimizer"], kept["model"]["params"], step=step, norm=norm
            )
            params = optax.apply_updates(kept["model"]["params"], updates)
            new = {"model": {"params": params, "batch_stats": stats}, "optimizer": optimizer_state}
            if "average" in kept:
                new["average"] = moving_average(kept["average"], params, step, settings.ema_decay)
            return new

        kept = {name: value for name, value in state.items() if name not in COUNTS}
        state = changed_if(fine, changed, kept) | {
            "step": step + 1,
            "skipped": state["skipped"] + ~fine,
            "skipped_in_a_row": jnp.where(fine, 0, state["skipped_in_a_row"] + 1),
        }
        metrics |= {
            "gradient_norm": norm,
            "learning_rate": rate(step),
            "skipped": state["skipped"],
            "skipped_in_a_row": state["skipped_in_a_row"],
            "frames": {name: batch[name] for name in FRAMES if name in batch},
        }
        return state, metrics

    return train_step


def changed_if(
    fine: jax.Array, change: Callable[[_Tree], _Tree], kept: _Tree, branch: bool | None = None
) -> _Tree:
    """change(kept) where `fine`, else `kept` as it is.

    Args:
      fine: (), bool, traced.
      change: a function of the tree `kept` that gives another of the same shapes.
      kept: a tree of arrays.
      branch: decide before the change and not after it; None for where that is faster. On a CPU XLA then
        changes a donated state in place; on a GPU the host would wait for `fine`.
    """
    if jax.default_backend() == "cpu" if branch is None else branch:
        return jax.lax.cond(fine, change, lambda kept: kept, kept)
    return jax.tree.map(lambda new, old: jnp.where(fine, new, old), change(kept), kept)


def without_batch_norm(gradients: dict) -> dict:
    """Zero where the parameter is a gain or a bias of a BatchNorm (the backbone's `norm` modules)."""

    def of(path: jax.tree_util.KeyPath, gradient: jax.Array) -> jax.Array:
        return jnp.zeros_like(gradient) if any(p.key == "norm" for p in path) else gradient

    backbone = jax.tree_util.tree_map_with_path(of, gradients["backbone"])
    return gradients | {"backbone": backbone}
