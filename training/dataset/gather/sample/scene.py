"""Where the sample's objects stand: the viewer, the table top and the wall behind it; no draw here knows a label."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.dataset.gather.sample.materials import Light, draw_colour, draw_wood
from training.dataset.gather.sample.shapes import Floats

Pixels = NDArray[np.float32]
_WALL_DISTANCE = 4.0


@dataclass(frozen=True)
class View:
    """A pinhole camera `distance` away from the origin, raised by `elevation` radians and rolled by `roll`.

    scale: pixels a unit at the origin; centre: the pixel (x, y) where the origin appears.
    """

    elevation: float
    roll: float
    distance: float
    scale: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def eye(self) -> Floats:
        return self.distance * np.array([0.0, -np.cos(self.elevation), np.sin(self.elevation)])

    def halved(self) -> View:
        """The same view on a picture of half the size."""
        return replace(self, scale=self.scale / 2, centre=(self.centre[0] / 2, self.centre[1] / 2))

    def axes(self) -> Floats:
        """Right, up and forward, [3, 3]."""
        up = np.array([0.0, np.sin(self.elevation), np.cos(self.elevation)])
        right = np.array([1.0, 0.0, 0.0])
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        return np.stack([cosine * right + sine * up, cosine * up - sine * right, -self.eye / self.distance])

    def project(self, points: Floats) -> Floats:
        """Points [..., 3] to pixel x, pixel y and depth, [..., 3]."""
        seen = (points - self.eye) @ self.axes().T
        depth = seen[..., 2]
        factor = self.scale * self.distance / np.maximum(depth, 0.1)
        return np.stack(
            [self.centre[0] + factor * seen[..., 0], self.centre[1] - factor * seen[..., 1], depth], axis=-1
        )

    def ground(self, size: tuple[int, int]) -> tuple[Pixels, Pixels, NDArray[np.bool_]]:
        """Where each pixel of a picture (width, height) meets the table or else the wall.

        Two coordinates in units and whether it is the wall, [height, width] each.
        """
        right, up, forward = self.axes().astype(np.float32)
        x = ((np.arange(size[0], dtype=np.float32) - self.centre[0]) / self.scale)[None, :, None]
        y = ((self.centre[1] - np.arange(size[1], dtype=np.float32)) / self.scale)[:, None, None]
        ray = forward * self.distance + x * right + y * up
        eye = self.eye.astype(np.float32)
        to_wall = (_WALL_DISTANCE - eye[1]) / np.maximum(ray[..., 1], 1e-3)
        to_table = -eye[2] / np.minimum(ray[..., 2], -1e-3)
        wall = to_wall < to_table
        way = np.where(wall, to_wall, to_table)
        second = np.where(wall, eye[2] + way * ray[..., 2], eye[1] + way * ray[..., 1])
        return way * ray[..., 0], second, wall


@dataclass(frozen=True)
class Backdrop:
    """The picture without objects, [height, width, 3] in 0..1, and the table's main colour [3]."""

    pixels: Pixels
    colour: Floats


def draw_view(rng: np.random.Generator) -> View:
    return View(rng.uniform(0.4, 1.15), rng.normal(0, 0.08), rng.uniform(5.0, 9.0))


def draw_backdrop(view: View, size: tuple[int, int], light: Light, rng: np.random.Generator) -> Backdrop:
    """A table of wood, marble, cloth or plain paint before a wall, under the light."""
    across, away, wall = view.ground(size)
    turn, zoom = rng.uniform(0, np.pi), rng.uniform(0.6, 1.8)
    u = (across * np.cos(turn) + away * np.sin(turn)) * np.float32(zoom)
    v = (away * np.cos(turn) - across * np.sin(turn)) * np.float32(zoom)
    kind = str(rng.choice(["wood", "wood", "marble", "cloth", "cloth", "plain", "plain"]))
    colour = draw_wood(rng) if kind == "wood" else draw_colour(rng)
    other = colour * rng.uniform(0.45, 0.75) if kind == "wood" else draw_colour(rng)
    blend = {"wood": _wood, "marble": _marble, "cloth": _cloth, "plain": _plain}[kind](u, v, rng)
    blend = np.where(wall, np.float32(rng.uniform(-0.3, 0.3)) + 0.1 * away, blend)
    table = colour.astype(np.float32) + np.clip(blend, -0.6, 1)[..., None] * (other - colour).astype(np.float32)
    glow = light.room + light.lamp * (0.4 + 0.6 * light.direction[2])
    slope = rng.normal(0, 0.05, 2).astype(np.float32)
    falloff = np.clip(1 + slope[0] * across + slope[1] * away, 0.5, 1.3)
    return Backdrop(table * falloff[..., None] * glow.astype(np.float32), colour)


def _noise(u: Pixels, v: Pixels, rng: np.random.Generator) -> Pixels:
    """Smooth noise in -1..1 that repeats without a seam every 16 units."""
    cells = np.pad(rng.uniform(-1, 1, (24, 24)).astype(np.float32), 4, mode="wrap")
    tile = np.asarray(Image.fromarray(cells).resize((384, 384), Image.Resampling.BICUBIC))[48:-48, 48:-48]
    row, column = (np.floor(axis * 18).astype(np.int32) % 288 for axis in (v, u))
    return np.asarray(tile[row, column])


def _wood(u: Pixels, v: Pixels, rng: np.random.Generator) -> Pixels:
    warp = _noise(u * 0.3, v * 1.5, rng)
    grain = np.sin(v * rng.uniform(8, 20) + 5 * warp)
    plank = np.floor(v * rng.uniform(0.5, 1.2))
    tone = np.sin(plank * 12.9 + 4) * 0.3
    return np.asarray(0.35 + tone + 0.25 * grain + 0.3 * _noise(u * 0.4, v * 8, rng))


def _marble(u: Pixels, v: Pixels, rng: np.random.Generator) -> Pixels:
    vein = np.abs(np.sin(u * 1.1 + 2.5 * _noise(u, v, rng) + 0.8 * _noise(u * 3, v * 3, rng)))
    return np.asarray((1 - vein) ** 4 * 0.7 + 0.1 * _noise(u * 2, v * 2, rng))


def _cloth(u: Pixels, v: Pixels, rng: np.random.Generator) -> Pixels:
    period, duty = rng.uniform(2.5, 8.0), rng.uniform(-0.3, 0.6)
    first, second = np.sin(u * period), np.sin(v * period)
    pattern = {
        "stripes": first > duty,
        "checks": ((first > duty).astype(np.float32) + (second > duty)) / 2,
        "dots": first * second > 0.5,
    }[str(rng.choice(["stripes", "checks", "dots"]))]
    fold = 0.15 * _noise(u * 0.5, v * 0.5, rng)
    return np.asarray(0.8 * pattern + fold + 0.06 * np.sin(u * 60) * np.sin(v * 60), dtype=np.float32)


def _plain(u: Pixels, v: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(rng.uniform(0, 0.25) * _noise(u, v, rng) + 0.15 * np.tanh(u * rng.uniform(0, 0.6)))
