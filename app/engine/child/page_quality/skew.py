"""Measures by how much the lines of a page are turned. Turned lines cost recognition many letters."""

from math import radians, tan

from PIL import Image, ImageStat

STRIPS = 32
"""The page is cut into this many vertical strips, whose rows are then moved against each other."""
HEIGHT = 1000
"""The most rows with which the skew is measured."""
MOST_DEGREES = 10.0
STEP_DEGREES = 0.25
CLEARER = 1.25
"""How many times clearer the lines of a turned page must stand out at the angle found than at no angle."""


def skew_of(ink: Image.Image) -> float:
    """Return by how many degrees the lines of a page are turned clockwise; 0.0 if no angle shows clear lines.

    `ink` is an image that `letters.ink_of` returned. The lines stand out most in the sums of the rows if the rows are
    parallel to the lines. Angles up to MOST_DEGREES are found.
    """
    scale = max(1.0, ink.height / HEIGHT)
    height = max(1, round(ink.height / scale))
    strips = ink.point(lambda value: value * 255).resize((STRIPS, height), Image.Resampling.BOX)
    strip_width = ink.width / scale / STRIPS
    steps = round(MOST_DEGREES / STEP_DEGREES)
    scores = {
        step * STEP_DEGREES: _clarity(strips, tan(radians(step * STEP_DEGREES)) * strip_width)
        for step in range(-steps, steps + 1)
    }
    best = max(scores, key=lambda degrees: (scores[degrees], -abs(degrees)))
    is_clear = scores[best] >= CLEARER * scores[0.0] and abs(best) < MOST_DEGREES
    return best if is_clear else 0.0


def _clarity(strips: Image.Image, rows_per_strip: float) -> float:
    """Return how much the sums of the rows differ when each strip is moved up by so many rows against the last one."""
    margin = round(abs(rows_per_strip) * STRIPS / 2) + 1
    shift = -rows_per_strip * (STRIPS - 1) / 2 - margin
    size = (STRIPS, strips.height + 2 * margin)
    moved = strips.transform(
        size, Image.Transform.AFFINE, (1, 0, 0, rows_per_strip, 1, shift), Image.Resampling.BILINEAR
    )
    return float(ImageStat.Stat(moved.resize((1, size[1]), Image.Resampling.BOX)).sum2[0])
