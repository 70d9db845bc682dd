"""Training: one file, read from top to bottom."""

import functools
import json
import os
import pathlib
import time

import jax
import numpy as np
import optax
from tensorboardX import SummaryWriter
from tqdm import tqdm

from amvur_jax import checkpoint, configuration
from amvur_jax.data.pipeline import train_batches
from amvur_jax.data.prefetch import DevicePrefetch
from amvur_jax.data.sources import open_training
from amvur_jax.errors import UserError
from amvur_jax.functional import count_parameters
from amvur_jax.images import normalize
from amvur_jax.models.amvur import normal_noise
from amvur_jax.objectives import objective
from amvur_jax.optimizer import learning_rate, make_optimizer
from amvur_jax.validation import Validator


def make_step(network, hand, loss, optimizer, seed):
    """The jitted step (model, optimizer_state, batch, step) -> (model, optimizer_state, metrics).

    model is {"params", "batch_stats"}; `paint` (static) is how many samples are rendered.
    """
    size = network.config.image_size
    regressor = hand.joint_regressor_21(network.config.regressor_tips)
    root_key = jax.random.key(seed)

    @functools.partial(jax.jit, static_argnames="paint", donate_argnums=(0, 1))
    def train_step(model, optimizer_state, batch, step, paint):
        noise_key, dropout_key = jax.random.split(jax.random.fold_in(root_key, step))
        image = normalize(batch["image"])

        def loss_of(params):
            outputs, stats = network.apply(
                {"params": params, "batch_stats": model["batch_stats"]},
                image,
                hand,
                train=True,
                key=dropout_key,
                noise=normal_noise(noise_key),
                paint=paint,
            )
            total, terms = objective(outputs, batch, image, regressor, hand, loss, size)
            return total, (stats, terms)

        (total, (stats, terms)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            model["params"]
        )
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, model["params"])
        params = optax.apply_updates(model["params"], updates)
        metrics = {"total": total, **terms, "gradient_norm": optax.tree.norm(gradients)}
        return {"params": params, "batch_stats": stats}, optimizer_state, metrics

    return train_step


def check_same_run(workdir, config):
    """Raise a UserError where the run's newest checkpoint has another config.model or config.hand."""
    old, new = checkpoint.read_config(workdir), json.loads(json.dumps(config))
    changed = [part for part in ("model", "hand") if old.get(part) != new[part]]
    if changed:
        raise UserError(
            f"{workdir}: this run was started with another config.{changed[0]}; give the same one to "
            "go on, or another --workdir to start anew"
        )


def write_config(workdir, config):
    """Write config.json, whole or not at all."""
    path = pathlib.Path(workdir) / "config.json"
    text = json.dumps(config, indent=2)
    temporary = path.with_suffix(".partial")
    temporary.write_text(text)
    os.replace(temporary, path)


def train(config, workdir):
    """Train as configured, into workdir/{checkpoints,tensorboard,config.json}; goes on where it stopped.

    Args:
      config: ml_collections.ConfigDict, see configs/default.py.
      workdir: the run's folder.
    Returns:
      The trained {"params", "batch_stats"}.
    Raises:
      UserError: a field, the data set or the folder is not as it should be, or the loss is not finite.
    """
    # ---- parts: everything that can be wrong with the input is found here, before anything is written
    settings = configuration.to_dict(config)
    network, loss = configuration.network(config), configuration.loss(config)
    hand = configuration.hand(config)
    optimizer = make_optimizer(config.train)
    dataset = open_training(config.data, hand)
    if len(dataset) < config.train.batch_size:
        raise UserError(
            f"config.train.batch_size: {config.train.batch_size} is more than the {len(dataset)} "
            "training frames"
        )
    validate = Validator(network, hand, config) if config.eval.every else None
    steps, size = config.train.steps, network.config.image_size

    # ---- state: fresh, from init_from, or from this run's newest checkpoint
    init = jax.jit(network.init)
    shapes = jax.eval_shape(init, jax.random.key(config.seed))
    if config.init_from:
        checkpoint.find(config.init_from)
    checkpoints = checkpoint.manager(workdir, keep=config.train.keep)
    start = checkpoints.latest_step() or 0
    if start:
        check_same_run(workdir, settings)
        model = checkpoint.restore_model(workdir, shapes)
        optimizer_state = jax.jit(optimizer.init)(model["params"])
        optimizer_state = checkpoint.restore_optimizer(workdir, start, optimizer_state)
    else:
        model = init(jax.random.key(config.seed))
        if config.init_from:
            model = checkpoint.restore_part(config.init_from, model)
        optimizer_state = jax.jit(optimizer.init)(model["params"])
    write_config(workdir, settings)
    train_step = make_step(network, hand, loss, optimizer, config.seed)
    rate = learning_rate(config.train)

    # ---- input
    host_batches = train_batches(
        dataset,
        size=size,
        batch_size=config.train.batch_size,
        seed=config.seed,
        start_step=start,
        workers=config.data.workers,
        augmentation=configuration.augmentation(config),
        cache=config.data.cache,
        strict=config.data.strict,
    )
    batches = DevicePrefetch(host_batches)

    # ---- loop
    def paint_at(step):
        on = loss.photometric > 0 and step >= loss.photometric_from * steps
        return loss.photometric_samples if on else 0

    parameters = count_parameters(model["params"])
    note = f"step {start} of {steps}, {parameters / 1e6:.1f} M parameters, {len(dataset)} frames"
    print(f"{workdir}: {note}, {jax.devices()[0].device_kind}", flush=True)
    writer = SummaryWriter(str(pathlib.Path(workdir) / "tensorboard"))
    progress = tqdm(total=steps, initial=start, unit="step", desc="train", dynamic_ncols=True)
    seen, since = 0, time.perf_counter()
    try:
        for step in range(start, steps):
            batch = next(batches)
            model, optimizer_state, metrics = train_step(
                model, optimizer_state, batch, np.int32(step), paint_at(step)
            )
            progress.update()
            seen += 1
            done = step + 1
            if done % config.train.log_every == 0 or done == steps:
                values = {k: float(v) for k, v in jax.device_get(metrics).items()}
                speed = seen * config.train.batch_size / (time.perf_counter() - since)
                seen, since = 0, time.perf_counter()
                if not np.isfinite(values["total"]):
                    bad = [k for k, v in values.items() if not np.isfinite(v)]
                    raise UserError(
                        f"the loss is not finite at step {done} ({', '.join(bad)}); the last checkpoint in "
                        f"{workdir}/checkpoints is from before. Try a lower config.train.learning_rate "
                        "or config.loss.data_term='mu'."
                    )
                progress.set_postfix(loss=f"{values['total']:.4f}", images_s=f"{speed:.0f}")
                for name, value in values.items():
                    writer.add_scalar(f"train/{name}", value, done)
                writer.add_scalar("train/learning_rate", float(rate(step)), done)
                writer.add_scalar("train/images_per_second", speed, done)
            if validate and (done % config.eval.every == 0 or done == steps):
                for name, value in validate(model).items():
                    writer.add_scalar(f"eval/{name}", value, done)
            if done % config.train.checkpoint_every == 0 or done == steps:
                checkpoint.save(checkpoints, done, model, optimizer_state, settings)
    finally:
        host_batches.close()
        progress.close()
        writer.close()
        checkpoints.wait_until_finished()
        checkpoints.close()
    return model
