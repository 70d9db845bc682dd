"""What a network's mesh is off by, its joints read off the picture, given by the detector, or nearly true.

--photos: a folder of amvur_jax.data.readers.photos. The error of a joint is its distance over the longer side
of the hand's box (that of the joints), in the picture; the reference being MediaPipe's landmarks, a fingertip
is where those have it (`amvur_jax/detect/tips.py`). --data_root: a data set with ground truth; PA-MPJPE
and wrist-relative MPJPE in mm, 2D in px of a published crop of 224. The cases "predict" go the whole way of
`predict.py`, the box given, with hands moved to the detector's landmarks and without; of their refined sigma,
how many joints the 95 % regions hold under the temperature that fits the unrefined ones. The case "hidden
joints" is of the training split, where that has depth pictures: how much larger error and sigma are of joints
that something hides or that are out of the picture than of the same joints elsewhere, over all frames and
to the frame's own mean.
"""

import numpy as np
import scipy.stats

from amvur_jax import inference
from amvur_jax.data.frame import project
from amvur_jax.data.open import open_dataset
from amvur_jax.data.sample import make_sample
from amvur_jax.data.views import Subset
from amvur_jax.detect.crops import joints_of
from amvur_jax.detect.detector import Detector
from amvur_jax.detect.tips import landmark_tips
from amvur_jax.errors import UserError
from amvur_jax.hands.reconstruct import Box, Reconstructor
from amvur_jax.scoring.metrics import procrustes

NOISE_PX = 2.7  # of nearly true joints, px of the published crop of 224, a coordinate
TOGETHER = 100


def run(quick, checkpoint="shipped", photos=None, data_root=None):
    """Yield a row for each source of joints, of the photographs and of the data set's evaluation split."""
    predictor = inference.load(checkpoint)
    if photos:
        yield from on_photos(predictor, open_dataset(photos), 4 if quick else 0)
    if data_root:
        dataset = open_dataset(data_root, "evaluation", predictor.hand)
        yield from on_truth(predictor, dataset, 4 if quick else 500)
        dataset = open_dataset(data_root, "train", predictor.hand, masks=True)
        yield from on_hidden(predictor, dataset, 4 if quick else 500)


def on_photos(predictor, dataset, count):
    """Rows of photographs with 2D joints: all, and by the first word of their file names."""
    dataset, samples, frames = _cropped(predictor, dataset, count)
    truth = np.stack([s["joints_2d"] for s in samples]) * predictor.size
    sources = np.array([name.split("_")[0] for name in dataset.names])
    given = {"map": {}, "detector": _detected(dataset, samples)}
    for case, joints in given.items():
        yield from _photo_rows(case, _answers(predictor, samples, joints)[1], truth, sources)
    for case, hands in _predicted(predictor, frames).items():
        seen = np.stack([hand.joints_px for hand in hands])
        yield from _photo_rows(case, seen, np.stack([f.joints_px for f in frames]), sources)


def _photo_rows(case, seen, truth, sources):
    side = np.ptp(truth, axis=1).max(-1)
    error = np.linalg.norm(landmark_tips(seen) - truth, axis=-1) / side[:, None]
    for source in ("all", *sorted(set(sources))):
        chosen = error if source == "all" else error[sources == source]
        pck = {f"pck_{t}": float((chosen < t).mean()) for t in (0.1, 0.2)}
        row = {"case": case, "photos": source, "count": len(chosen)}
        yield row | {"error_of_box": float(chosen.mean()), **pck}


def on_truth(predictor, dataset, count):
    """Rows of labelled frames, the best constant hand last."""
    dataset, samples, frames = _cropped(predictor, dataset, count)
    joints = dataset.ground_truth[0]
    K = np.stack([s["K"] for s in samples])
    truth, unit = project(joints, K), predictor.size / 224 / predictor.crop_scale
    rng = np.random.default_rng(0)
    near = {"joints": truth + rng.normal(0, NOISE_PX * unit, truth.shape)}
    depth = (joints[..., 2] / joints[:, :1, 2] - 1) * K[:, :1, 0]
    unsure = np.exp(rng.normal(0, 0.2, (len(depth), 1)))
    near_depth = depth * unsure + rng.normal(0, 0.02 * predictor.size, depth.shape)
    given = {
        "map": {},
        "detector": _detected(dataset, samples),
        "truth with noise": near,
        "truth with noise, and depths": near | {"depth": near_depth},
    }
    for case, arrays in given.items():
        found, seen = _answers(predictor, samples, arrays)
        relative = (found - found[:, :1]) - (joints - joints[:, :1])
        yield {
            "case": case,
            "frames": len(found),
            "pa_mpjpe_mm": _aligned_mm(found, joints),
            "root_mpjpe_mm": 1000 * float(np.linalg.norm(relative, axis=-1).mean()),
            "joints_2d_px": float(np.linalg.norm(seen - truth, axis=-1).mean() / unit),
        }
    temperature = None
    for case, hands in _predicted(predictor, frames, focal=True).items():
        chosen = np.array([i for i, hand in enumerate(hands) if hand is not None])
        found = np.stack([hands[i].joints_cam for i in chosen])
        sigma = np.stack([hands[i].joints_sigma_mm for i in chosen])[:, 1:] / 1000
        relative = (found - found[:, :1]) - (joints - joints[:, :1])[chosen]
        off = (relative[:, 1:] ** 2).sum(-1) / sigma**2 / scipy.stats.chi2.ppf(0.95, 3)
        temperature = temperature or np.quantile(off, 0.95)
        yield {
            "case": case,
            "frames": len(found),
            "pa_mpjpe_mm": _aligned_mm(found, joints[chosen]),
            "root_mpjpe_mm": 1000 * float(np.linalg.norm(relative, axis=-1).mean()),
            "in_95_regions": float((off < temperature).mean()),
        }
    constant = joints[0]
    for _ in range(5):  # the mean of all hands laid over it
        constant = np.mean([procrustes(hand, constant) for hand in joints], 0)
    constant = np.broadcast_to(constant, joints.shape)
    yield {"case": "best constant hand", "pa_mpjpe_mm": _aligned_mm(constant, joints)}


def on_hidden(predictor, dataset, count):
    """The row of the joints that are not seen, wrist-relative error and sigma over those of the seen ones."""
    _, samples, _ = _cropped(predictor, dataset, count, masks=True)
    samples = [s for s in samples if s["has_visible"] and s["has_3d"]]
    if not samples:
        return
    images, joints = (np.stack([s[name] for s in samples]) for name in ("image", "joints_cam"))
    found, sigma = [], []
    for i in range(0, len(images), TOGETHER):
        outputs = predictor(images[i : i + TOGETHER], paint=0)
        found.append(np.asarray(predictor.answer(outputs).joints.mu))
        sigma.append(np.sqrt(np.exp(predictor.sigma(outputs).joints).mean(-1)))
    found = np.concatenate(found)
    relative = (found - found[:, :1]) - (joints - joints[:, :1])
    values = {"error": np.linalg.norm(relative, axis=-1), "sigma": np.concatenate(sigma)}
    seen = np.stack([_seen(s) for s in samples])[:, 1:]  # the wrist is where it is
    both = seen.any(1) & (~seen).any(1)
    row = {"case": "hidden joints", "frames": int(both.sum()), "joints": int((~seen).sum())}
    for name, value in values.items():
        value = np.log(value[:, 1:] / scipy.stats.gmean(value[:, 1:]))  # to what the joint has
        for where in ("", "_within_frames"):
            row[f"{name}_ratio{where}"] = float(np.exp(value[~seen].mean() - value[seen].mean()))
            value = value - value.mean(1, keepdims=True)
    yield row


def _seen(sample):
    """(21,) whether a joint lies on a pixel of the crop that shows the hand."""
    size = len(sample["visible"])
    at = np.floor(sample["joints_2d"] * size).astype(int)
    x, y = np.clip(at, 0, size - 1).T
    return sample["visible"][y, x] & ((at >= 0) & (at < size)).all(1)


def _cropped(predictor, dataset, count, masks=False):
    dataset = Subset(dataset, count)
    frames = [dataset.frame(i) for i in range(len(dataset))]
    size, scale = predictor.size, predictor.crop_scale
    return dataset, [make_sample(f, size, crop_scale=scale, masks=masks) for f in frames], frames


def _detected(dataset, samples):
    """The arrays of `Given` of the detector's joints of the hands in given boxes."""
    crops = np.stack([s["crop"] for s in samples])
    return joints_of(Detector(), dataset, range(len(samples)), crops)._asdict()


def _predicted(predictor, frames, focal=False):
    """{case: the Hand of each frame} of `predict.py`; None where a box's middle is outside the picture."""
    detector = Detector()
    cases = {"predict --norefine": False, "predict": True}
    hands = {case: [] for case in cases}
    for case, refine in cases.items():
        reconstructor = Reconstructor(predictor, detector, refine=refine)
        for frame in frames:
            length = frame.K[0, 0] if focal else None
            try:
                box = Box(frame.box, frame.side)
                hands[case] += reconstructor(frame.image, length, [box])
            except UserError:
                hands[case].append(None)
    return hands


def _answers(predictor, samples, given):
    """The mesh's joints (N,21,3) m and where they are seen (N,21,2), px of the crops."""
    images, found, seen = np.stack([s["image"] for s in samples]), [], []
    for i in range(0, len(images), TOGETHER):
        part = slice(i, i + TOGETHER)
        outputs = predictor(images[part], paint=0, **{k: v[part] for k, v in given.items()})
        found.append(np.asarray(predictor.answer(outputs).joints.mu, np.float64))
        seen.append(np.asarray(predictor.joints_2d(outputs)) * predictor.size)
    return np.concatenate(found), np.concatenate(seen)


def _aligned_mm(found, truth):
    off = [np.linalg.norm(procrustes(a, b) - b, axis=-1).mean() for a, b in zip(found, truth)]
    return 1000 * float(np.mean(off))
