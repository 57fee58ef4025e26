"""A Kalman filter of boxes with constant velocity, as in SORT, for all objects at once.

A box is (centre x, centre y, width / height, height). Source: the filter of DeepSORT (Wojke et al., 2017, section 2.1)
and ByteTrack, with their noise: proportional to the box's height, constant for the ratio of its sides. There it is one
filter of eight states. All its covariances between different coordinates are and remain zero, so here each coordinate
has a filter of two states, position and velocity. The numbers are the same, and nothing but elementwise arithmetic is
left: an object's numbers do not depend on the size of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_POSITION, _VELOCITY = 1 / 20, 1 / 160  # standard deviations in heights of the box
_RATIO, _RATIO_VELOCITY, _RATIO_MEASURED = 1e-2, 1e-5, 1e-1  # those of the ratio of its sides
_RATIO_PLACE, _HEIGHT_PLACE = 2, 3  # of a box's four numbers


@dataclass(frozen=True, eq=False)
class BoxFilter:
    """The motion of B boxes.

    Attributes:
        mean: (B, 4) position of each coordinate.
        velocity: (B, 4) its change in a frame.
        variance: (B, 4) of the position.
        covariance: (B, 4) of position and velocity.
        velocity_variance: (B, 4) of the velocity.
    """

    mean: Tensor
    velocity: Tensor
    variance: Tensor
    covariance: Tensor
    velocity_variance: Tensor

    @classmethod
    def unpacked(cls, numbers: Tensor) -> BoxFilter:
        """Return filters of what `packed` returned."""
        return cls(*numbers.unbind(1))

    def packed(self) -> Tensor:
        """Return all numbers as one tensor (B, 5, 4)."""
        return torch.stack((self.mean, self.velocity, self.variance, self.covariance, self.velocity_variance), 1)

    @classmethod
    def begun(cls, boxes: Tensor) -> BoxFilter:
        """Return filters that have seen one box each: (B, 4) of `centred`."""
        none = torch.zeros_like(boxes)
        variance = _squares(boxes, 2 * _POSITION, _RATIO)
        return cls(boxes, none, variance, none, _squares(boxes, 10 * _VELOCITY, _RATIO_VELOCITY))

    def predicted(self) -> BoxFilter:
        """Return the filters one frame later, before they have seen it."""
        return BoxFilter(
            self.mean + self.velocity,
            self.velocity,
            self.variance + 2 * self.covariance + self.velocity_variance + _squares(self.mean, _POSITION, _RATIO),
            self.covariance + self.velocity_variance,
            self.velocity_variance + _squares(self.mean, _VELOCITY, _RATIO_VELOCITY),
        )

    def moved(self, shift: Tensor) -> BoxFilter:
        """Return the filters with all boxes moved by (2,) x and y."""
        return replace(self, mean=torch.cat((self.mean[:, :2] + shift, self.mean[:, 2:]), 1))

    def updated(self, boxes: Tensor) -> BoxFilter:
        """Return predicted filters after they have seen boxes (B, 4) of `centred`."""
        innovation = boxes - self.mean
        total = self.variance + _squares(self.mean, _POSITION, _RATIO_MEASURED)
        gain, velocity_gain = self.variance / total, self.covariance / total
        return BoxFilter(
            self.mean + gain * innovation,
            self.velocity + velocity_gain * innovation,
            self.variance - gain * gain * total,
            self.covariance - gain * velocity_gain * total,
            self.velocity_variance - velocity_gain * velocity_gain * total,
        )

    def corners(self) -> Tensor:
        """Return the boxes as xyxy (B, 4)."""
        x, y, ratio, height = self.mean.unbind(1)
        half_width, half_height = ratio * height / 2, height / 2
        return torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), 1)


def _squares(boxes: Tensor, of_height: float, of_ratio: float) -> Tensor:
    """Return variances (B, 4) from standard deviations: in heights of the box, and that of the ratio of its sides."""
    deviations = (of_height * boxes[:, _HEIGHT_PLACE:]).repeat(1, 4)
    deviations[:, _RATIO_PLACE] = of_ratio
    return deviations.square()


def centred(corners: Tensor) -> Tensor:
    """Turn boxes xyxy (B, 4) into (centre x, centre y, width / height, height); a height of 0 becomes 1."""
    x0, y0, x1, y1 = corners.unbind(1)
    height = y1 - y0
    height = torch.where(height == 0, 1.0, height)
    return torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, height), 1)


def box_iou(one: Tensor, others: Tensor) -> Tensor:
    """Return the IoU (B, M) of a box xyxy (B, 4) each with boxes (B, M, 4); 0 where either is empty."""
    one = one[:, None]
    sides = (torch.minimum(one[..., 2:], others[..., 2:]) - torch.maximum(one[..., :2], others[..., :2])).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    area, other = ((box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (one, others))
    union = area + other - common
    return torch.where((other > 0) & (union > 0), common / union, 0.0)
