"""MediaPipe's own HandLandmarker, in an environment of its own: `benchmarks/predict.py` asks it.

    PYTHON benchmarks/landmarker.py hand_landmarker.task

Each line of standard input is JSON, {"photo": path, "times": n} or {"video": path}; each answer the seconds
that it took and in how many pictures there was a hand.
"""

import json
import sys
import time

import cv2
import mediapipe as mp
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision


def landmarker(task, mode):
    options = vision.HandLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=task), running_mode=mode
    )
    return vision.HandLandmarker.create_from_options(options)


def photo(found, path, times):
    """Read a picture and detect, over and over."""
    hands = 0
    for _ in range(times):
        image = mp.Image.create_from_file(path)
        hands += bool(found.detect(image).hand_landmarks)
    return hands


def video(task, path):
    """Follow the hand through a video, by a landmarker of its own: none goes back in time."""
    found, capture = landmarker(task, vision.RunningMode.VIDEO), cv2.VideoCapture(path)
    hands = number = 0
    while True:
        there, frame = capture.read()
        if not there:
            break
        rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)
        hands += bool(found.detect_for_video(image, 1000 * number // 30).hand_landmarks)
        number += 1
    found.close()
    return hands


def main(task):
    still = landmarker(task, vision.RunningMode.IMAGE)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        if "photo" in asked:
            hands = photo(still, asked["photo"], asked["times"])
        else:
            hands = video(task, asked["video"])
        print(json.dumps({"s": time.perf_counter() - start, "hands": hands}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
