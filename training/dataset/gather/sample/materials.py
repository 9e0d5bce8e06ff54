"""Colour, finish and light of the sample's objects; no draw here knows a label."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from training.dataset.gather.sample.shapes import Floats, Solid


@dataclass(frozen=True)
class Light:
    """A lamp at infinity and the glow of the room; colours are linear factors per channel."""

    direction: Floats
    lamp: Floats
    room: Floats


@dataclass(frozen=True)
class Finish:
    """What a surface is made of. colours: [3, 3] in 0..1 (outside, inside, decoration)."""

    colours: Floats
    pattern: str
    frequency: int
    grain: float
    gloss: float
    sharpness: float
    mirror: float
    opacity: float


# name: grain, gloss, sharpness, mirror, opacity, and how often it is drawn
_FINISHES = {
    "glazed": (0.02, 0.7, 60.0, 0.06, 1.0, 0.32),
    "matte": (0.05, 0.1, 8.0, 0.0, 1.0, 0.2),
    "metal": (0.03, 0.8, 35.0, 0.75, 1.0, 0.24),
    "wood": (0.22, 0.1, 10.0, 0.0, 1.0, 0.14),
    "glass": (0.0, 0.9, 90.0, 0.3, 0.55, 0.1),
}
_PATTERNS = ("none", "none", "lined", "band", "stripes", "ombre")


def draw_light(rng: np.random.Generator) -> Light:
    turn, rise, warmth = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.25), rng.uniform(-0.14, 0.14)
    direction = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    share = rng.uniform(0.4, 0.75)
    return Light(direction, tint * share, (2 - tint) * (1.05 - share))


def draw_colour(rng: np.random.Generator) -> Floats:
    """A colour [3] in 0..1: a near-neutral or a hue, the same palette for objects and surroundings."""
    if rng.random() < 0.4:
        return np.asarray(rng.choice([0.15, 0.4, 0.65, 0.85, 0.95]) + rng.uniform(-0.05, 0.05, 3))
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.9)))


def draw_wood(rng: np.random.Generator) -> Floats:
    return np.array(colorsys.hsv_to_rgb(rng.uniform(0.05, 0.11), rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.85)))


def draw_finish(rng: np.random.Generator, surroundings: Floats) -> Finish:
    """A finish whose main colour stands out from the colour of its `surroundings`."""
    names = list(_FINISHES)
    while True:
        name = names[rng.choice(len(names), p=[row[-1] for row in _FINISHES.values()])]
        colours = np.stack([draw_colour(rng) for _ in range(3)])
        if name == "wood":
            colours = draw_wood(rng) * rng.uniform(0.8, 1.1, (3, 1))
        if name == "metal":
            colours = np.full((3, 3), 0.75) + rng.choice([[0.0, 0.0, 0.0], [0.12, 0.0, -0.3], [0.1, -0.12, -0.25]])
        if np.abs(colours[0] - surroundings).mean() > 0.18:
            break
    pattern = str(rng.choice(_PATTERNS)) if name in ("glazed", "matte") else "none"
    return Finish(colours, pattern, int(rng.integers(3, 17)), *_FINISHES[name][:-1])


def shade(solid: Solid, finish: Finish, light: Light, eye: Floats, *, rng: np.random.Generator) -> Floats:
    """Colours and opacities [n, 4] in 0..1 of a solid's quadrilaterals seen from the point `eye`.

    Lambert for the diffuse part, Blinn-Phong for the highlight, Schlick's approximation for the reflection at a
    grazing angle (J. Blinn 1977; C. Schlick 1994).
    """
    normal = solid.normals()
    sight = eye - solid.quads.mean(axis=1)
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    half = sight + light.direction
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    lit = np.clip(normal @ light.direction, 0, 1) * _lamp_share(solid, light)
    facing = np.clip((normal * sight).sum(axis=1), 0, 1)
    grazing = (1 - facing) ** 5
    highlight = finish.gloss * np.clip((normal * half).sum(axis=1), 0, 1) ** finish.sharpness * (lit > 0)
    mirror = finish.mirror + (1 - finish.mirror) * grazing * finish.gloss * 0.5
    body = _decorated(solid, finish, rng) * (lit[:, None] * light.lamp * 1.2 + _room_share(solid, normal) * light.room)
    reflection = _surroundings(2 * facing[:, None] * normal - sight)[:, None] * finish.colours[0] * 1.3
    colour = body + mirror[:, None] * (reflection - body) + highlight[:, None] * light.lamp * 1.6
    opacity = np.clip(finish.opacity + (1 - finish.opacity) * (1 - facing) ** 2 + highlight, 0, 1)
    return np.column_stack([np.clip(colour, 0, 1), opacity])


def _decorated(solid: Solid, finish: Finish, rng: np.random.Generator) -> Floats:
    """The colour of each quadrilateral under white light, [n, 3]."""
    outside, inside, decoration = finish.colours
    accent, share = {
        "none": (outside, np.zeros(len(solid.along))),
        "lined": (inside, solid.inner),
        "band": (decoration, (solid.along * 6 + finish.frequency) % 3 < 0.7),
        "stripes": (decoration, solid.around * finish.frequency % 1 < 0.4),
        "ombre": (decoration, np.abs(2 * solid.along - 1)),
    }[finish.pattern]
    colour = outside + share[:, None] * (accent - outside)
    ripple = np.sin(solid.along * 23 + 3 * np.sin(solid.around * 19)) + rng.normal(0, 0.25, len(share))
    return np.asarray(colour * (1 + finish.grain * ripple[:, None]))


def _lamp_share(solid: Solid, light: Light) -> Floats:
    """How much lamp light gets past the rim to each quadrilateral inside a vessel: 0..1."""
    if not solid.inner.any():
        return np.ones(len(solid.inner))
    middle = solid.quads.mean(axis=1)
    wall = middle[solid.inner]
    axis, rim, radius = wall[:, :2].mean(axis=0), wall[:, 2].max(), np.ptp(wall[:, 0]) / 2
    way = (rim - middle[:, 2]) / light.direction[2]
    leaves = np.linalg.norm(middle[:, :2] - axis + way[:, None] * light.direction[:2], axis=1) / radius
    return np.asarray(np.where(solid.inner, np.clip((1.15 - leaves) / 0.3, 0.1, 1), 1.0))


def _room_share(solid: Solid, normal: Floats) -> Floats:
    """How much of the room's glow reaches each quadrilateral, [n, 1]: less downwards and deep inside."""
    height = solid.quads[:, :, 2].mean(axis=1)
    depth = np.where(solid.inner, height / max(height.max(), 0.2), 1.0)
    return np.asarray(((0.7 + 0.3 * normal[:, 2]) * (0.6 + 0.4 * depth))[:, None])


def _surroundings(direction: Floats) -> Floats:
    """Brightness of an imaginary room in a direction [n, 3]: a light ceiling, a darker floor and two windows."""
    around = np.arctan2(direction[:, 1], direction[:, 0])
    sky = 0.35 + 0.5 * np.clip(direction[:, 2] + 0.2, 0, 1)
    return np.asarray(sky + 0.2 * np.sin(2 * around + 2 * direction[:, 2]) * np.hypot(direction[:, 0], direction[:, 1]))
