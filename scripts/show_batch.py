"""Draw a training batch with its labels, to see what a config makes of the data.

    python scripts/show_batch.py --config=configs/ho3d_weak.py --config.data.root=data/synthetic \\
        --config.data.augment.rotation=90 --config.data.augment.color=0.3 --output=batch.jpg
"""

from absl import flags
from ml_collections import config_flags

from amvur_jax import configuration
from amvur_jax.data.batches import train_batches
from amvur_jax.data.groups import Grouping
from amvur_jax.data.open import open_training
from amvur_jax.files.whole import save_picture
from amvur_jax.pictures.batch import batch_picture, contact_sheet
from amvur_jax.runtime import cli

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The path of a config, or the name of one in configs/: ho3d_weak."
)
_OUTPUT = flags.DEFINE_string("output", "batch.jpg", "The picture to write.")
_STEP = flags.DEFINE_integer("step", 0, "Which batch of the run.", lower_bound=0)
_GRID = flags.DEFINE_bool(
    "grid", False, "Pictures alone, eight in a row, every second row with joints."
)
_COUNT = flags.DEFINE_integer("count", 6, "How many of its samples.", lower_bound=1)
flags.mark_flags_as_required(["config"])


def main() -> None:
    config = _CONFIG.value
    configuration.check(config)
    hand = configuration.hand(config)
    batches = train_batches(
        open_training(config.data, hand, config.seed),
        size=config.model.image_size,
        batch_size=_COUNT.value,
        seed=config.seed,
        start_step=_STEP.value,
        augmentation=configuration.augmentation(config),
        strict=config.data.strict,
        crop_scale=config.model.crop_scale,
        grouping=Grouping(config.data.group, config.data.group_span),
    )
    batch = next(batches)
    picture = contact_sheet(batch) if _GRID.value else batch_picture(batch, hand, _COUNT.value)
    save_picture(_OUTPUT.value, picture)
    print(f"{_OUTPUT.value}: {', '.join(batches.names(batch))}")


if __name__ == "__main__":
    cli.run(main)
