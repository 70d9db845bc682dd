"""Hands of a photo in the browser: dropped, or taken by the camera.

    python scripts/app.py

Then open the address that it prints. It needs gradio: pip install -e '.[app]'. Nobody but this machine can
open it unless --host=0.0.0.0 says so, and nothing is sent anywhere.
"""

from absl import flags

from amvur_jax import app, inference, weights
from amvur_jax.detect.detector import Detector
from amvur_jax.hands.reconstruct import Reconstructor
from amvur_jax.runtime import cli, shared_flags

_CHECKPOINT = shared_flags.checkpoint(weights.NAME)
_DETECTOR = shared_flags.detector()
_HAND = shared_flags.hand()
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Where to listen; 0.0.0.0 lets others in.")
_PORT = flags.DEFINE_integer("port", 7860, "Of the host.", lower_bound=1, upper_bound=65535)
_keep_compiled = shared_flags.compilation_cache()


def main() -> None:
    _keep_compiled()
    app.gradio()  # or say at once that it is missing
    detector = Detector(_DETECTOR.value)
    predictor = inference.load(_CHECKPOINT.value, _HAND.value)
    app.serve(
        Reconstructor(predictor, detector),
        Reconstructor(predictor, detector, thorough=True),
        _HOST.value,
        _PORT.value,
    )


if __name__ == "__main__":
    cli.run(main)
