"""Training: one file, read from top to bottom."""

import concurrent.futures
import contextlib
import functools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from amvur_jax import checkpoint, configuration, weights
from amvur_jax.data.batches import train_batches
from amvur_jax.data.groups import Grouping
from amvur_jax.data.open import open_evaluation, open_training
from amvur_jax.data.prefetch import DevicePrefetch
from amvur_jax.data.readers.kinematics import hand_id
from amvur_jax.errors import UserError
from amvur_jax.files.places import is_url
from amvur_jax.inference import Predictor
from amvur_jax.models.functional import count_parameters
from amvur_jax.pictures.overview import overview
from amvur_jax.runtime import devices
from amvur_jax.runtime.startup import Stopwatch, return_memory
from amvur_jax.training.estimate import describe
from amvur_jax.training.log import Journal
from amvur_jax.training.manifest import write_manifest
from amvur_jax.training.optimizer import make_optimizer
from amvur_jax.training.step import make_step, state_of
from amvur_jax.training.stop import Stop
from amvur_jax.training.validation import Validator


def train(
    config: ConfigDict, workdir: str | pathlib.Path, dry_run: bool = False, profile: int = 0
) -> dict | None:
    """Train as configured, into workdir/{checkpoints,tensorboard,metrics.jsonl,manifest.json}; goes on where
    it stopped.

    Args:
      config: ml_collections.ConfigDict, see configs/default.py.
      workdir: the run's folder, or its URL of gs://, s3://, az:// or hf://.
      dry_run: compile, print what the run would take, and stop; nothing is written.
      profile: a step, from 1, of which a trace is written to workdir/profile; 0: none.
    Returns:
      The trained {"params", "batch_stats"}, or None from a dry run.
    Raises:
      UserError: a field, the data set or the folder is not as it should be, a checkpoint could not be
        written, or the loss was not finite too often.
      SystemExit: with 0, after SIGTERM, when the checkpoint is written.
    """
    stopwatch = Stopwatch()

    # ---- parts: everything that can be wrong with the input is found here, before anything is written
    configuration.check(config)
    with stopwatch.part("data"):
        hand = configuration.hand(config)
        loss = configuration.loss(config)
        dataset = open_training(config.data, hand, config.seed, loss.occlusion == "labels")
        config = configuration.settled(config, dataset)
        network = configuration.network(config)
        settings = configuration.to_dict(config) | {"hand_id": hand_id(hand)}
        if len(dataset) < config.train.batch_size:
            raise UserError(
                f"config.train.batch_size: {config.train.batch_size} is more than the {len(dataset)} "
                "training frames"
            )
        evaluation = open_evaluation(config.data, config.eval.root, hand)
        validate = Validator(network, hand, evaluation, config) if config.eval.every else None
        drawn = dataset.datasets[0] if evaluation is None else evaluation
    steps = config.train.steps

    if profile and is_url(workdir):
        raise UserError(
            f"--profile: a trace goes to a folder, not to {workdir}; give a local --workdir"
        )

    # ---- mesh
    mesh = devices.make_mesh()
    devices.check_batch(config.train.batch_size, config.train.accumulate, mesh)
    first = jax.process_index() == 0

    # ---- input
    host_batches = train_batches(
        dataset,
        size=network.config.image_size,
        batch_size=config.train.batch_size,
        seed=config.seed,
        workers=config.data.workers,
        augmentation=configuration.augmentation(config),
        cache=config.data.cache,
        strict=config.data.strict,
        bad_frames=config.data.bad_frames,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        crop_scale=config.model.crop_scale,
        grouping=Grouping(config.data.group, config.data.group_span),
    )
    batches = DevicePrefetch(host_batches, devices.over_batch(mesh))

    # ---- step: compiled before there is a state, each variant once
    optimizer = make_optimizer(config.train)
    fresh = functools.partial(state_of, optimizer=optimizer, settings=config.train)
    shapes = jax.eval_shape(fresh, network.shapes)
    shardings = devices.of_state(shapes, mesh, config.train.shard_parameters)
    shapes = devices.with_shardings(shapes, shardings)
    train_step = make_step(
        network, hand, loss, optimizer, config.train, config.seed, mesh, shardings
    )

    def paint_at(step: int) -> int | None:
        on = loss.photometric > 0 and step >= loss.photometric_from * steps
        return loss.photometric_samples if on else 0

    # ---- state: from this run's newest checkpoint, from init_from, or fresh; born where it belongs
    start, started_from = checkpoint.newest(workdir) if workdir else 0, None
    if start:
        check_same_run(workdir, settings)
    elif config.init_from:
        started_from = weights.file_of(config.init_from)
        if started_from is None:
            checkpoint.find(config.init_from)
        else:
            stored = weights.read_weights(started_from).state
    if dry_run:
        with stopwatch.part("data"):
            batch = next(batches)
        describe(train_step, shapes, batch, paint_at(steps - 1), mesh, stopwatch)
        host_batches.close()
        return None
    if start >= steps:
        print(f"{workdir}: all {steps} steps are done", flush=True)
        return checkpoint.restore_model(workdir, shapes["model"])
    if profile and not start < profile <= steps:
        raise UserError(f"--profile={profile}: the run has steps {start + 1} to {steps} before it")
    with stopwatch.part("state"):
        if start:
            state, place = checkpoint.restore_state(workdir, shapes)
            batches.set_state(place)
        else:
            model = network.init(config.seed)
            if started_from is not None:
                model = weights.part_of(started_from, stored, model)
            elif config.init_from:
                model = checkpoint.restore_part(config.init_from, model)
            state = jax.jit(fresh, out_shardings=shardings)(jax.device_get(model))
            del model
        jax.block_until_ready(state)
    with stopwatch.part("data"):
        batch = next(batches)
    compiler = concurrent.futures.ThreadPoolExecutor(1)

    @functools.cache
    def compiled(paint: int | None) -> concurrent.futures.Future[jax.stages.Compiled]:
        return compiler.submit(lambda: train_step.lower(shapes, batch_shapes, paint).compile())

    batch_shapes = jax.tree.map(checkpoint.as_shape, batch)
    with stopwatch.part("compile"):
        compiled(paint_at(start)).result()
        return_memory()
    compiled(paint_at(steps - 1))  # meanwhile, for when the rendered loss comes in

    # ---- what a person sees
    saver = checkpoint.Saver(
        checkpoint.manager(workdir, config.train.keep, config.train.best_metric), settings
    )
    if first:
        write_manifest(workdir, settings, start)
    parameters = count_parameters(state["model"]["params"])
    if first:
        note = f"step {start} of {steps}, {parameters / 1e6:.1f} M parameters, {dataset.count()}"
        where = f"{mesh.size} x {jax.devices()[0].device_kind}"
        print(f"{workdir}: {note}, {where}", flush=True)
    journal = Journal(workdir, config.train, start, batches.names, writes=first)
    journal.text("config", json.dumps(settings, indent=2), start)
    journal.text("hand", f"{settings['hand'] or 'the embedded hand'}\n{settings['hand_id']}", start)

    def due(every: int) -> bool | int:
        """Whether something that is done every so many steps, and at the end, is to be done now; 0: never."""
        return every and (done % every == 0 or done == steps)

    def inferred() -> dict:
        """What inference would use of the state, on this process's first device."""
        model = state["model"] | {"params": state.get("average", state["model"]["params"])}
        return devices.local_copy(model, mesh)

    # ---- loop
    stop = Stop()
    try:
        for step in range(start, steps):
            done = step + 1
            # everything that goes to a device or comes from it is asked for, not found on the way
            with jax.transfer_guard("disallow"), traced(workdir, state, done == profile):
                state, metrics = compiled(paint_at(step)).result()(state, batch)
                journal.add(done, metrics)
                if done == profile:
                    jax.block_until_ready(state)
            if step == start:
                with stopwatch.part("first step"):
                    jax.block_until_ready(metrics)
                if first:
                    print(stopwatch, flush=True)
            place = batches.get_state()
            if done < steps:
                with journal.waiting_for_data():
                    batch = next(batches)
            last = done == steps or stop.asked(done)
            scores = None
            if validate and due(config.eval.every):
                with journal.paused():
                    scores = validate(inferred())
                journal.scalars(done, eval=scores)
            if due(config.train.picture_every):
                with journal.paused():
                    model = inferred()  # which takes every process
                    if first:
                        picture = overview(Predictor(network, hand, model, settings), drawn, 3)
                        journal.picture("predictions", picture, done)
            if last or scores or due(config.train.checkpoint_every):
                saver.save(done, state, place, scores)
            saver.check()
            if last:
                break
        journal.flush()
        saver.finish()
    finally:
        stop.forget()
        journal.close()
        saver.close()
        host_batches.close()
        compiler.shutdown(wait=False, cancel_futures=True)
    if done < steps:
        print(f"{workdir}: stopped by SIGTERM, saved at step {done}", flush=True)
        raise SystemExit(0)
    return state["model"]


@contextlib.contextmanager
def traced(workdir: str | pathlib.Path, state: dict, on: bool) -> Iterator[None]:
    """Write a trace of what is done within to workdir/profile, of nothing that was begun before."""
    if not on:
        yield
        return
    folder = pathlib.Path(workdir) / "profile"
    jax.block_until_ready(state)
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
        yield
    print(
        f"{folder}: a trace; https://ui.perfetto.dev opens its perfetto_trace.json.gz", flush=True
    )


def check_same_run(workdir: str | pathlib.Path, config: Mapping[str, Any]) -> None:
    """Raise a UserError where the run's newest checkpoint has another network or another hand."""
    old, changed = checkpoint.read_config(workdir), None
    before, now = (vars(configuration.network(c).config) for c in (old, config))
    if fields := [name for name in now if before[name] != now[name]]:
        changed = "config.model (" + ", ".join(f"{n}: {before[n]!r}" for n in fields) + ")"
    elif old.get("hand_id", old["hand"]) not in (config["hand_id"], config["hand"]):
        changed = "config.hand"
    if changed:
        raise UserError(
            f"{workdir}: this run was started with another {changed}; give the same one to go on, or "
            "another --workdir to start anew"
        )
