"""The data sets that are known: one row each. A new one is a reader (readers/), and a row here.

A row says how the data set's folder is told, read and written, what its official program scores, and what
papers report on it. Nothing else in the project asks for a data set by its name.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from absl import logging

from amvur_jax.data.frame import GL_TO_CV, Dataset
from amvur_jax.data.readers.freihand import FreiHAND
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.synthetic.freihand_writer import FreiHANDWriter
from amvur_jax.data.synthetic.ho3d_writer import HO3DWriter
from mano_jax import HandModel
from mano_jax.topology import MODEL_TO_HO3D


@dataclasses.dataclass(frozen=True)
class Program:
    """An official scoring program, and the form in which it wants predictions.

    Attributes:
      title: its data set's name.
      joint_order: (21,) x_program = x_model[joint_order].
      axes: (3,) what OpenCV's axes are multiplied with.
      on_wrist: whether predictions lie on the wrist that each frame gives.
      fingertips: preset (mano_jax.topology.FINGERTIPS) of the joints' ground truth.
      keys: {its name of a score: the error of amvur_jax.scoring.metrics}, in its order.
    """

    title: str
    joint_order: np.ndarray
    axes: np.ndarray
    on_wrist: bool
    fingertips: str
    keys: Mapping[str, str]

    @property
    def axes_name(self) -> str:
        """What such axes are called."""
        return "OpenCV" if (self.axes > 0).all() else "OpenGL"


PROGRAMS: Mapping[str, Program] = {
    "ho3d": Program(
        title="HO-3D",
        joint_order=MODEL_TO_HO3D,
        axes=GL_TO_CV,
        on_wrist=True,
        fingertips="ho3d",
        keys={
            "xyz": "mpjpe",
            "xyz_procrustes_al": "pa_mpjpe",
            "xyz_scale_trans_al": "st_mpjpe",
            "mesh": "mpvpe",
            "mesh_al": "pa_mpvpe",
        },
    ),
    "freihand": Program(
        title="FreiHAND",
        joint_order=np.arange(21),
        axes=np.ones(3),
        on_wrist=False,
        fingertips="freihand",
        keys={"xyz": "mpjpe", "xyz_al": "pa_mpjpe", "mesh": "mpvpe", "mesh_al": "pa_mpvpe"},
    ),
}


class Reader(Protocol):
    """The class of a data set as its authors publish it."""

    def __call__(self, root: Path, split: str, hand: HandModel | None, masks: bool) -> Dataset: ...

    @staticmethod
    def mark(root: Path, split: str) -> Path: ...


@dataclasses.dataclass(frozen=True)
class Layout:
    """A data set as its authors publish it.

    Attributes:
      reader: (root, split, hand, masks) -> frame.Dataset; `reader.mark(root, split)` is a file that tells it.
      writer: (output, split, hand, count) -> what amvur_jax.data.synthetic.make writes made-up frames with.
      program: a key of PROGRAMS.
      published: {system: (PA-MPJPE mm, PA-MPVPE mm, F@5, F@15 aligned)}, as papers report them.
    """

    reader: Reader
    writer: Callable[..., Any]
    program: str
    published: Mapping[str, tuple[float, float, float, float]]

    @property
    def official(self) -> Program:
        """The data set's own scoring program."""
        return PROGRAMS[self.program]


LAYOUTS: Mapping[str, Layout] = {
    "ho3d_v2": Layout(
        reader=HO3D,
        writer=functools.partial(HO3DWriter, version=2),
        program="ho3d",
        published={
            "METRO": (10.4, 11.1, 0.484, 0.946),
            "HandOccNet": (9.1, 8.8, 0.564, 0.963),
            "AMVUR, as published": (8.3, 8.2, 0.608, 0.965),
            "HaMeR": (7.7, 7.9, 0.635, 0.980),
            "WiLoR": (7.5, 7.7, 0.646, 0.983),
        },
    ),
    "ho3d_v3": Layout(
        reader=HO3D,
        writer=functools.partial(HO3DWriter, version=3),
        program="ho3d",
        published={"AMVUR, as published": (8.7, 8.3, 0.593, 0.964)},
    ),
    "freihand": Layout(
        reader=FreiHAND,
        writer=FreiHANDWriter,
        program="freihand",
        published={"AMVUR, as published": (6.2, 6.1, 0.767, 0.987)},
    ),
}


def fingertips_of(datasets: Sequence[Dataset]) -> str:
    """The preset of the fingertips in the first data set's labels; a warning says where another's differ."""
    presets = {str(d.root): LAYOUTS[d.layout].official.fingertips for d in datasets}
    first = LAYOUTS[datasets[0].layout].official.fingertips
    if set(presets.values()) != {first}:
        found = ", ".join(f"{preset} in {root}" for root, preset in presets.items())
        logging.warning(
            "the data sets' labels have different fingertips (%s), some of them 5 mm apart: the network's "
            "are %s; set config.model.fingertips to choose",
            found,
            first,
        )
    return first
