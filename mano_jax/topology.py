r"""Joint orders, bones and fingertip vertices of a MANO hand: pinned here and nowhere else.

The model's order of the 21 joints (a right hand, its palm towards you):

           12
      16   |    8
       |   11   |
  20   15  |    7
   |   |   10   |
  19   14  |    6          4
   |   |   |    |         /
  18   |   9    5        3
    \  13  |    |       /
     17 \  |   /       2
       \  \ |  /      /
        \  \| /     1
         \ | |   /
           0 wrist

  0 wrist, 1-4 thumb, 5-8 index, 9-12 middle, 13-16 ring, 17-20 pinky, each from palm to tip.

MANO itself has 16 joints (no tips) and another order of the fingers: wrist, index 1-3,
middle 1-3, pinky 1-3, ring 1-3, thumb 1-3. A tip is a vertex of the mesh.
"""

import numpy as np

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

# The 16 joints of the kinematic chain, in MANO's order.
MANO_JOINT_NAMES = (
    "wrist",
    *(
        f"{finger}{i}"
        for finger in ("index", "middle", "pinky", "ring", "thumb")
        for i in (1, 2, 3)
    ),
)
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

# The 21 joints that the network speaks of, in the model's order.
JOINT_NAMES = ("wrist", *(f"{finger}{i}" for finger in FINGERS for i in (1, 2, 3, 4)))
BONES = tuple(
    (0 if i == 1 else 4 * finger + i - 1, 4 * finger + i)
    for finger in range(5)
    for i in (1, 2, 3, 4)
)

# x_model = x_ho3d[HO3D_TO_MODEL]. HO-3D's order is MANO's 16 joints, then the tips of FINGERS.
HO3D_TO_MODEL = np.array([0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20])
MODEL_TO_HO3D = np.argsort(HO3D_TO_MODEL)

# x_mano21 = x_model[MODEL_TO_MANO21]: MANO's order with each tip put after its finger.
MODEL_TO_MANO21 = np.array(
    [0, 5, 6, 7, 8, 9, 10, 11, 12, 17, 18, 19, 20, 13, 14, 15, 16, 1, 2, 3, 4]
)

# Fingertip vertices of a right hand, as different users of MANO choose them: thumb, index, middle,
# ring, pinky.
FINGERTIPS = {
    "ho3d": (744, 333, 444, 555, 672),
    "freihand": (744, 320, 443, 555, 672),
    "manopth": (745, 317, 444, 556, 673),
    "amvur": (745, 317, 445, 556, 673),
}
# manopth takes another vertex for the middle tip of a left hand.
_LEFT_FINGERTIPS = FINGERTIPS | {"manopth": (745, 317, 445, 556, 673)}


def fingertip_vertices(preset: str, side: str = "right") -> np.ndarray:
    """Look up the five fingertip vertex ids of a preset.

    Args:
      preset: a key of FINGERTIPS.
      side: "right" or "left", the hand's.

    Returns:
      Five ids: thumb, index, middle, ring, pinky.

    Raises:
      ValueError: no such preset, or no such side.
    """
    if preset not in FINGERTIPS:
        raise ValueError(f"fingertips={preset!r}: expected one of {', '.join(FINGERTIPS)}")
    if side not in ("right", "left"):
        raise ValueError(f"side={side!r}: expected 'right' or 'left'")
    return np.array((_LEFT_FINGERTIPS if side == "left" else FINGERTIPS)[preset])
