"""The two networks' files, read and checked, and the two libraries that run them."""

import importlib.util
import io
import tempfile
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from amvur_jax.errors import UserError
from mano_jax.errors import MALFORMED

Backend = Literal["auto", "opencv", "litert"]
# float32 (1, S, S, 3) RGB in [0, 1] to the outputs, in the order asked for.
Network = Callable[[np.ndarray], list[np.ndarray]]

ASSETS = resources.files("amvur_jax.detect") / "assets"
_LARGEST = 64 * 2**20  # bytes; today's files have 2 and 5 MiB
_LITERT_THREADS = 2


class _Kind(NamedTuple):
    """A network: the name of its file, the side of its input in px, and how long each output is."""

    file: str
    side: int
    outputs: dict[str, int]


PALMS = _Kind("hand_detector.tflite", 192, {"Identity": 2016 * 18, "Identity_1": 2016})
LANDMARKS = _Kind(
    "hand_landmarks_detector.tflite",
    224,
    {"Identity": 63, "Identity_1": 1, "Identity_2": 1, "Identity_3": 63},
)


def load_networks(path: str | Path | None, backend: Backend) -> tuple[Network, Network]:
    """Load the palm and the landmark network.

    Args:
      path: a `hand_landmarker.task` or a folder with the two .tflite files; None: those of the package.
      backend: "opencv", "litert" (the extra `detect`), or "auto": LiteRT where it is installed.

    Returns:
      the two, each a function of a (1, S, S, 3) float32 picture, RGB in [0, 1].

    Raises:
      UserError: a file is missing, damaged or another network; the backend is not there.
    """
    if backend == "auto":
        backend = "litert" if importlib.util.find_spec("ai_edge_litert") else "opencv"
    if backend not in ("opencv", "litert"):
        raise UserError(f"backend={backend!r}: expected 'auto', 'opencv' or 'litert'")
    make = _litert if backend == "litert" else _opencv
    palms, landmarks = (
        _loaded(kind, _contents(path, kind.file), path or ASSETS, make)
        for kind in (PALMS, LANDMARKS)
    )
    return palms, _with_biases(landmarks, path) if backend == "opencv" else landmarks


def _contents(path: str | Path | None, name: str) -> bytes:
    """The bytes of one network's file, at most _LARGEST."""
    if path is None:
        return (ASSETS / name).read_bytes()
    path = Path(path)
    try:
        if path.is_dir():
            with open(path / name, "rb") as file:
                data = file.read(_LARGEST + 1)
        else:
            # Read by its exact name and never unpacked: no path of the archive is followed.
            with zipfile.ZipFile(path) as archive, archive.open(name) as member:
                data = member.read(_LARGEST + 1)
    except KeyError as error:
        raise UserError(
            f"{path}: has no {name}; give a hand_landmarker.task of MediaPipe, not another task"
        ) from error
    except MALFORMED as error:
        raise UserError(
            f"{path}: is no whole hand_landmarker.task ({error}); download it again"
        ) from error
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); give a "
            f"hand_landmarker.task or a folder with {PALMS.file} and {LANDMARKS.file}"
        ) from error
    if len(data) > _LARGEST:
        raise UserError(
            f"{path}: {name} is larger than {_LARGEST >> 20} MiB; is it the right file?"
        )
    return data


def _loaded(
    kind: _Kind, data: bytes, place: object, make: Callable[[_Kind, bytes], Network]
) -> Network:
    """The network, run once on a black picture: one that isn't the expected kind is refused here."""
    wrong = UserError(
        f"{place}: {kind.file} is damaged or is not the network that is known by this name; "
        "download hand_landmarker.task again, or leave it out to take the package's own"
    )
    if data[4:8] != b"TFL3":
        raise wrong
    try:
        network = make(kind, data)
        outputs = network(_black(kind))
    except (cv2.error, ValueError, RuntimeError, KeyError, SystemError) as error:
        raise wrong from error
    if [output.size for output in outputs] != list(kind.outputs.values()):
        raise wrong
    return network


def _opencv(kind: _Kind, data: bytes) -> Network:
    # OpenCV 5's new engine gives one output of a TFLite graph alone, and from memory it takes no other.
    engine = (cv2.dnn.ENGINE_CLASSIC,) if hasattr(cv2.dnn, "ENGINE_CLASSIC") else ()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / kind.file
        file.write_bytes(data)
        network = cv2.dnn.readNetFromTFLite(str(file), *engine)

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        network.setInput(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        return [np.asarray(output) for output in network.forward(list(kind.outputs))]

    return run


def _with_biases(network: Network, path: str | Path | None) -> Network:
    """The landmark network with the biases of its last layers, which OpenCV 4 leaves out.

    What is missing shows on a black picture, for which the package has the right answer.
    """

    def raw(output: np.ndarray) -> np.ndarray:
        """What the last layer gave: the two scores (1, 1) went through a sigmoid since."""
        if output.size > 1:
            return output
        score = np.clip(output.astype(np.float64), 1e-9, 1 - 1e-9)
        return np.log(score / (1 - score))

    with np.load(io.BytesIO((ASSETS / "black.npz").read_bytes())) as file:
        right = [raw(file[name]) for name in LANDMARKS.outputs]
    own = network if path is None else _opencv(LANDMARKS, _contents(None, LANDMARKS.file))
    biases = [a - raw(b) for a, b in zip(right, own(_black(LANDMARKS)))]
    if max(np.abs(bias).max() for bias in biases) < 1e-3:
        return network
    if path is not None:
        raise UserError(
            f"{path}: OpenCV {cv2.__version__} reads the package's own networks alone; for others "
            "pip install 'amvur-jax[detect]' or 'opencv-python-headless>=5'"
        )

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        outputs = [raw(output) + bias for output, bias in zip(network(pixels), biases)]
        return [1 / (1 + np.exp(-x)) if x.size == 1 else x for x in outputs]

    return run


def _black(kind: _Kind) -> np.ndarray:
    return np.zeros((1, kind.side, kind.side, 3), np.float32)


def _litert(kind: _Kind, data: bytes) -> Network:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(
            "backend='litert' needs ai-edge-litert: pip install 'amvur-jax[detect]', or "
            "backend='opencv'"
        ) from error
    network: Any = Interpreter(model_content=data, num_threads=_LITERT_THREADS)
    network.allocate_tensors()
    place = {output["name"]: output["index"] for output in network.get_output_details()}
    (first,) = (entry["index"] for entry in network.get_input_details())
    places = [place[name] for name in kind.outputs]

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        network.set_tensor(first, pixels)
        network.invoke()
        return [network.get_tensor(index) for index in places]

    return run
