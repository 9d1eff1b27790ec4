"""The training loss: binary cross-entropy plus soft Jaccard, over the judged pixels of each image.

Both are taken image by image, not over the batch as the published training did: the mean per-image IoU is
reported, and the gradient of several processes is that of one process with the whole batch.
"""

from __future__ import annotations

from utils import NOT_JUDGED, import_oneflow

flow = import_oneflow()
F = flow.nn.functional


def segmentation_loss(logits: flow.Tensor, mask: flow.Tensor, jaccard_weight: float = 1.0) -> flow.Tensor:
    """Return the scalar loss.

    logits: (N, 1, H, W) float. mask: (N, 1, H, W) uint8, 0 = background, 255 = face, 128 = not judged, which
    is ignored. The Jaccard term is -log(soft IoU), as in Iglovikov and Shvets, "TernausNet", 2018.
    """
    judged = (mask != NOT_JUDGED).float()
    face = (mask > NOT_JUDGED).float()
    # log(1 + exp(x)) - x * face, in the form that cannot overflow
    per_pixel = F.relu(logits) - logits * face + flow.log1p(flow.exp(-flow.abs(logits)))
    cross_entropy = per_image(per_pixel * judged) / per_image(judged).clamp(min=1.0)
    probability = flow.sigmoid(logits) * judged
    intersection = per_image(probability * face)
    union = per_image(probability) + per_image(face) - intersection
    # The added pixel keeps an image without a face finite.
    jaccard = -flow.log((intersection + 1) / (union + 1))
    return (cross_entropy + jaccard_weight * jaccard).mean()


def image_iou(logits: flow.Tensor, mask: flow.Tensor) -> flow.Tensor:
    """Return the IoU of each image, (N,), of logits above 0 with the mask; shapes and values as above."""
    judged = (mask != NOT_JUDGED).float()
    face = (mask > NOT_JUDGED).float()
    marked = (logits > 0).float() * judged
    intersection = per_image(marked * face)
    union = per_image(marked) + per_image(face) - intersection
    # Where there is no face and nothing is marked, the IoU is 1.
    return flow.where(union > 0, intersection / union.clamp(min=1.0), flow.ones_like(union))


def per_image(x: flow.Tensor) -> flow.Tensor:
    return x.sum(dim=(1, 2, 3))
