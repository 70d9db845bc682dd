"""What a person sees of a run: progress bar, TensorBoard, metrics.jsonl, and the steps that went wrong."""

import collections
import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from ml_collections import ConfigDict
from tensorboardX import SummaryWriter
from tqdm import tqdm

from amvur_jax.errors import UserError
from amvur_jax.files.places import is_url, place
from amvur_jax.files.whole import explained, write_json
from amvur_jax.training.metrics import METRICS, add, begin

# Steps that the device may have in its queue before the host waits for one.
_IN_FLIGHT = 8


# Metrics that count or are set: of these the last is shown, of the others the mean.
_STATES = ("learning_rate", "skipped", "skipped_in_a_row")


def _of_finite(what: Callable[[list[float]], float], seen: list[float]) -> float:
    """`what` of a metric's values since the last line, of those that are finite, if any is."""
    finite = [value for value in seen if np.isfinite(value)]
    return float(what(finite)) if finite else seen[-1]


class Journal:
    """Takes each step's metrics while they are still being computed, and reads them when they are there.

    Args:
      workdir: the run's folder, or its URL.
      settings: config.train.
      start: the step that the run goes on from.
      names: function of a batch's {"index", "source"} to its frames' names.
      writes: whether this process writes (the first does).
    """

    def __init__(
        self,
        workdir: str | pathlib.Path,
        settings: ConfigDict,
        start: int,
        names: Callable[[Mapping[str, np.ndarray]], list[str]],
        writes: bool = True,
    ) -> None:
        self._folder, self._settings, self._names = place(workdir), settings, names
        # Without a bound on its queue: its thread ends on a full disk, and nobody shall wait for it.
        folder = str(self._folder / "tensorboard")
        # What a run that was killed had written of later steps is no part of the curves.
        purge = start + 1 if start else None
        self._writes, self._writer = writes, None
        if writes:
            with explained(self._folder / METRICS):
                begin(self._folder / METRICS, start)
            if is_url(workdir):
                print(
                    f"{workdir}: TensorBoard's events go to folders alone; metrics.jsonl is there"
                )
            else:
                self._writer = SummaryWriter(
                    folder, purge_step=purge, max_queue=0, filename_suffix=f".{start}"
                )
        self._bar = tqdm(
            total=settings.steps,
            initial=start,
            unit="step",
            desc="train",
            dynamic_ncols=True,
            disable=not writes,
        )
        self._waiting: collections.deque[tuple[int, dict]] = collections.deque()
        self._reset()

    def _reset(self) -> None:
        self._seen: dict[str, list[float]] = collections.defaultdict(list)
        self._since, self._steps, self._data_seconds, self._paused = (
            time.perf_counter(),
            0,
            0.0,
            0.0,
        )

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Time what the device may have waited for."""
        start = time.perf_counter()
        yield
        self._data_seconds += time.perf_counter() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not the training's, of validation and of pictures."""
        self.flush()  # else the steps under way would be done in no time
        start = time.perf_counter()
        yield
        self._paused += time.perf_counter() - start

    def add(self, step: int, metrics: dict) -> None:
        """Take the metrics of a step; read those of earlier steps that are there.

        Raises:
          UserError: too many steps in a row were not finite.
        """
        for value in jax.tree.leaves(metrics):
            value.copy_to_host_async()
        self._waiting.append((step, metrics))
        while self._waiting and (
            len(self._waiting) > _IN_FLIGHT or self._waiting[0][1]["total"].is_ready()
        ):
            self._read(*self._waiting.popleft())

    def flush(self) -> None:
        """Read all that was taken."""
        while self._waiting:
            self._read(*self._waiting.popleft())

    def _read(self, step: int, metrics: dict) -> None:
        metrics = jax.device_get(metrics)
        frames = metrics.pop("frames")
        values = {name: float(value) for name, value in metrics.items()}
        self._bar.update()
        self._steps += 1
        for name, value in values.items():
            self._seen[name].append(value)
        if values["skipped_in_a_row"]:
            self._report(step, values, frames)
        every = self._settings.log_every
        if every and (step % every == 0 or step == self._settings.steps):
            self._log(step)

    def _log(self, step: int) -> None:
        """Show the means of the steps since the last line."""
        elapsed = max(time.perf_counter() - self._since - self._paused, 1e-9)
        speed = self._steps * self._settings.batch_size / elapsed
        share = min(self._data_seconds / elapsed, 1.0)
        means, largest = {}, {}
        for name, seen in self._seen.items():
            if name in _STATES:
                means[name] = seen[-1]
            else:
                means[name], largest[name] = _of_finite(np.mean, seen), _of_finite(max, seen)
        self._reset()
        self._bar.set_postfix(
            loss=f"{means['total']:.4f}", images_s=f"{speed:.0f}", data=f"{share:.0%}"
        )
        rates = {"images_per_second": speed, "data_wait_share": share}
        self.scalars(step, train=means | rates, largest=largest)

    def scalars(self, step: int, **groups: Mapping[str, float]) -> None:
        """Write group={name: number} to TensorBoard, and as one line of metrics.jsonl."""
        if not self._writes:
            return
        if self._writer:
            for group, values in groups.items():
                for name, value in values.items():
                    self._writer.add_scalar(f"{group}/{name}", value, step)
        with contextlib.suppress(OSError):  # a full disk: the checkpoint's error says it better
            add(self._folder / METRICS, step, **groups)

    def text(self, name: str, text: str, step: int) -> None:
        """Write lines to TensorBoard, as they are."""
        if self._writer:
            self._writer.add_text(
                name, "".join(f"    {line}\n" for line in text.splitlines()), step
            )

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Write a picture (H,W,3) uint8 to TensorBoard."""
        if self._writer:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def _report(
        self, step: int, values: Mapping[str, float], frames: Mapping[str, np.ndarray]
    ) -> None:
        """Say which step was left out and why, save its frames, and stop where there are too many."""
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        names = self._names(frames)
        folder = self._folder / "bad_steps"
        path = folder / f"{step}.json"
        record = {
            "step": step,
            "not_finite": bad,
            "values": {name: repr(value) for name, value in values.items()},
            "frames": names,
            "index": np.asarray(frames["index"]).tolist(),
        }
        if self._writes:
            folder.mkdir(exist_ok=True)
            write_json(path, record)
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        what = ", ".join(bad) if bad else "the update"
        self._bar.write(
            f"step {step} is left out: {what} not finite; {int(values['skipped'])} so far. Its frames, "
            f"in {path}: {shown}"
        )
        allowed = self._settings.bad_steps
        if values["skipped_in_a_row"] > allowed:
            raise UserError(
                f"the loss is not finite at step {step}, nor was it in the {allowed} steps before it "
                f"({what}); their frames are in {folder}. The parameters are those of before. Try a "
                "lower config.train.learning_rate or config.loss.data_term='mu'."
            )

    def close(self) -> None:
        """Close the bar and TensorBoard's file."""
        self._bar.close()
        if self._writer:
            with contextlib.suppress(OSError):  # a full disk: the checkpoint's error says it better
                self._writer.close()
