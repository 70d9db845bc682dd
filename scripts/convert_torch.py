"""Convert published PyTorch weights to a checkpoint. Needs PyTorch: pip install -e '.[convert]'.

    python scripts/convert_torch.py --kind=hrnet --input=hrnetv2_w64_imagenet_pretrained.pth \\
        --output=runs/hrnet_w64
    python scripts/train.py --config=configs/ho3d_weak.py --config.init_from=runs/hrnet_w64 ...

    python scripts/convert_torch.py --kind=amvur --input=state_dict.bin --camera=weak_perspective \\
        --mano=MANO_RIGHT.pkl --downsampling=mano_downsampling.npz --output=runs/published
    python scripts/evaluate.py --checkpoint=runs/published --data_root=DIR --output=runs/published
"""

from absl import flags

from amvur_jax.published.convert import KINDS, convert
from amvur_jax.runtime import cli

_KIND = flags.DEFINE_enum(
    "kind", None, sorted(KINDS), "An HRNet classifier or a whole AMVUR network."
)
_INPUT = flags.DEFINE_string("input", None, "The state dict: HRNet's .pth, or state_dict.bin.")
_OUTPUT = flags.DEFINE_string("output", None, "The run's folder to make.")
_CAMERA = flags.DEFINE_enum(
    "camera",
    "perspective",
    ["perspective", "weak_perspective"],
    "Of kind amvur: how it was trained, weakly supervised (perspective) or supervised.",
)
_MANO = flags.DEFINE_string("mano", None, "MANO_RIGHT.pkl; without it the embedded hand is used.")
_DOWNSAMPLING = flags.DEFINE_string(
    "downsampling", None, "The published mano_downsampling.npz; without it a coarse mesh is made."
)
flags.mark_flags_as_required(["kind", "input", "output"])


def main() -> None:
    from amvur_jax.configs import ho3d_supervised, ho3d_weak

    recipe = {"perspective": ho3d_weak, "weak_perspective": ho3d_supervised}[_CAMERA.value]
    config = recipe.get_config().to_dict()
    config = convert(
        _KIND.value, _INPUT.value, _OUTPUT.value, config, _MANO.value, _DOWNSAMPLING.value
    )
    backbone = config["model"]["backbone"]
    print(f"{_OUTPUT.value}: checkpoint of {_KIND.value}, HRNet width {backbone['width']}")
    if _KIND.value == "amvur" and not (_MANO.value and _DOWNSAMPLING.value):
        print(
            "note: the weights were trained with MANO; give --mano and --downsampling to run them"
        )


if __name__ == "__main__":
    cli.run(main)
