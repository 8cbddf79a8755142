"""The assignment's picture of many pictures."""

import math

import numpy as np

__all__ = ["visualize_grid"]


def visualize_grid(Xs: np.ndarray, ubound: float = 255.0, padding: int = 1) -> np.ndarray:
    """Arrange images `(N, H, W, C)` in a square grid, each stretched to the range 0 to `ubound`.

    Returns:
        `(rows, columns, C)`, with `padding` black pixels between the images.

    >>> visualize_grid(np.random.rand(9, 32, 32, 3)).shape
    (98, 98, 3)
    """
    count, height, width, channels = Xs.shape
    side = math.ceil(math.sqrt(count))
    grid = np.zeros((side * (height + padding) - padding, side * (width + padding) - padding, channels))
    for i, image in enumerate(Xs):
        top, left = (i // side) * (height + padding), (i % side) * (width + padding)
        low, high = image.min(), image.max()
        if high > low:
            grid[top : top + height, left : left + width] = ubound * (image - low) / (high - low)
    return grid
