"""The shapes of the sample: bowls, cups, cutlery and plates as quadrilaterals in space.

Every shape is about one unit in radius and stands on the table z = 0; z is up and the viewer stands towards -y.
Shape is the only thing that a label decides: colour, finish, light and surroundings are drawn elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SIDES = 60  # around a vessel: the fewest with which a rim looks round at twice the picture's size


@dataclass(frozen=True)
class Solid:
    """Quadrilaterals that face outwards (counter-clockwise corners seen from inside).

    quads: [n, 4, 3]; along, around: [n] in 0..1, where a quadrilateral lies on its surface; inner: [n] true inside a
    vessel.
    """

    quads: Floats
    along: Floats
    around: Floats
    inner: NDArray[np.bool_]

    def __add__(self, other: Solid) -> Solid:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Solid(*(np.concatenate(pair) for pair in pairs))

    def placed(self, turn: float = 0.0, scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> Solid:
        """Turned about the vertical by `turn` radians, then scaled, then moved over the table."""
        cosine, sine = np.cos(turn), np.sin(turn)
        spin = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return Solid(self.quads @ spin * scale + [*offset, 0.0], self.along, self.around, self.inner)

    def normals(self) -> Floats:
        """Unit vectors [n, 3] that point out of the surface."""
        across = np.cross(self.quads[:, 3] - self.quads[:, 1], self.quads[:, 2] - self.quads[:, 0])
        length = np.linalg.norm(across, axis=1, keepdims=True)
        return np.asarray(across / np.maximum(length, 1e-9))


def bowl(rng: np.random.Generator) -> Solid:
    height, foot, steepest = rng.uniform(0.65, 1.0), rng.uniform(0.2, 0.4), rng.uniform(1.0, 1.5)
    slope = np.linspace(0.0, steepest, 12)
    reach, rise = np.sin(slope) / np.sin(steepest), (1 - np.cos(slope)) / (1 - np.cos(steepest))
    wall = np.stack([foot + (1 - foot) * reach, height * rise], axis=1)
    return _vessel(wall, thickness=rng.uniform(0.04, 0.08)).placed(rng.uniform(0, 2 * np.pi))


def cup(rng: np.random.Generator) -> Solid:
    height, foot, bulge = rng.uniform(1.35, 2.0), rng.uniform(0.6, 1.0), rng.uniform(-0.05, 0.15)
    rise = np.linspace(0.0, 1.0, 10)
    reach = foot + (0.9 - foot) * rise ** rng.uniform(0.5, 1.0) + bulge * np.sin(np.pi * rise)
    wall = np.stack([reach, height * rise], axis=1)
    turn = rng.uniform(-1.05, 0.05) * np.pi  # the handle stays on the viewer's side of the cup
    return (_vessel(wall, thickness=rng.uniform(0.05, 0.09)) + _handle(wall, rng)).placed(turn, scale=0.8)


def plate(rng: np.random.Generator) -> Solid:
    well, rim = rng.uniform(0.6, 0.75), rng.uniform(0.07, 0.14)
    reach = np.linspace(well - 0.04, 1.0, 10)
    rise = np.interp(reach, [well - 0.04, well + 0.04, 1.0], [0.0, rim * rng.uniform(0.5, 0.8), rim])
    wall = np.stack([reach, rise], axis=1)
    return _vessel(wall, thickness=rng.uniform(0.02, 0.035)).placed(rng.uniform(0, 2 * np.pi))


def cutlery(rng: np.random.Generator) -> Solid:
    """One to three pieces side by side."""
    makers = (_fork, _knife, _spoon)
    count, gap = int(rng.integers(1, 4)), rng.uniform(0.4, 0.55)
    pieces = [
        makers[kind](rng).placed(rng.normal(0, 0.06), offset=(rng.normal(0, 0.05), gap * (place - (count - 1) / 2)))
        for place, kind in enumerate(rng.permutation(len(makers))[:count])
    ]
    return sum(pieces[1:], start=pieces[0]).placed(rng.uniform(0, 2 * np.pi))


SHAPES: dict[str, Callable[[np.random.Generator], Solid]] = {
    "bowl": bowl,
    "cup": cup,
    "cutlery": cutlery,
    "plate": plate,
}


def _fork(rng: np.random.Generator) -> Solid:
    x = np.linspace(-1.0, 0.62, 30)
    width = np.interp(x, [-1, -0.97, -0.6, 0.2, 0.35, 0.5, 0.62], [0.02, 0.09, 0.08, 0.04, 0.07, 0.16, 0.17])
    count = int(rng.integers(3, 5))
    solid = _bar(x, width * rng.uniform(0.9, 1.15), bend=0.1)
    tine = np.linspace(0.58, rng.uniform(0.95, 1.1), 10)
    for middle in np.linspace(-0.135, 0.135, count):
        solid += _bar(tine, np.interp(tine, [0.58, 0.9, 1.1], [0.032, 0.026, 0.012]), bend=0.1, middle=middle)
    return solid


def _knife(rng: np.random.Generator) -> Solid:
    x = np.linspace(-1.0, 1.1, 40)
    grip, blade = rng.uniform(0.06, 0.09), rng.uniform(0.1, 0.15)
    edge = np.interp(x, [-1, -0.97, -0.1, 0, 0.1, 0.85, 1.02, 1.1], [0.02, grip, grip, 0.05, blade, blade, 0.07, -0.04])
    back = np.interp(x, [-1, -0.97, -0.1, 0, 1.1], [0.02, grip, grip, 0.05, 0.05])
    return _bar(x, (edge + back) / 2, bend=0.02, middle=(edge - back) / 2)


def _spoon(rng: np.random.Generator) -> Solid:
    x = np.linspace(-1.0, 1.0, 44)
    centre, reach, breadth = 0.68, 0.33, rng.uniform(0.2, 0.27)
    scoop = np.sqrt(np.clip(1 - ((x - centre) / reach) ** 2, 0, None))
    stem = np.interp(x, [-1, -0.97, -0.6, 0.2, 0.5, 0.6], [0.02, 0.1, 0.08, 0.04, 0.05, 0])
    return _bar(x, np.maximum(stem, scoop * breadth) + 0.01, bend=0.06, dish=scoop * 0.12)


def _bar(
    x: Floats, half_width: Floats, bend: float, *, middle: Floats | float = 0.0, dish: Floats | float = 0.0
) -> Solid:
    """A flat bar along x that rises by `bend` between its ends; `dish` hollows it."""
    height = 0.05 + bend * np.sin(np.pi * np.clip(x, 0, 1)) + dish
    return _tube(np.stack([x, height], axis=1), half_width, 0.03, middle=middle, dish=dish)


def _handle(wall: Floats, rng: np.random.Generator) -> Solid:
    low, high, reach = rng.uniform(0.15, 0.3), rng.uniform(0.75, 0.9), rng.uniform(0.4, 0.6)
    angle = np.linspace(-0.5, 0.5, 16) * np.pi
    share = low + (high - low) * (np.sin(angle) + 1) / 2
    side = np.interp(share, np.linspace(0, 1, len(wall)), wall[:, 0])
    path = np.stack([side - 0.03 + reach * np.cos(angle) ** rng.uniform(0.6, 1.0), share * wall[-1, 1]], axis=1)
    return _tube(path, np.full(16, rng.uniform(0.08, 0.14)), rng.uniform(0.05, 0.09))


def _vessel(wall: Floats, thickness: float) -> Solid:
    """The outside `wall` ([rows, 2]: radius, height; upwards) turned about z, with an inside and a floor."""
    inside = wall[::-1] - [thickness, 0.0]
    inside[:, 1] = np.maximum(inside[:, 1], thickness)
    floor = np.linspace(inside[-1, 0], 0.0, 5)[1:]
    profile = np.concatenate([wall, inside, np.stack([floor, np.full(4, inside[-1, 1])], axis=1)])
    angle = np.linspace(0.0, 2 * np.pi, _SIDES + 1)
    radius = profile[:, :1]
    points = np.stack(
        [radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(profile[:, 1:], (len(profile), len(angle)))],
        axis=2,
    )
    return _sheet(points, inner_from=len(wall))


def _tube(
    path: Floats, half_width: Floats, half_thickness: float, *, middle: Floats | float = 0.0, dish: Floats | float = 0.0
) -> Solid:
    """An elliptical section carried along `path` ([rows, 2]: x, z); its width lies along y."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    angle = np.linspace(0.0, 2 * np.pi, 13)
    lift = half_thickness * np.sin(angle)
    x = path[:, :1] - tangent[:, 1:] * lift
    z = path[:, 1:] + tangent[:, :1] * lift - np.reshape(dish, (-1, 1)) * np.sin(angle) ** 2
    y = np.reshape(middle, (-1, 1)) + half_width[:, None] * np.cos(angle)
    return _sheet(np.stack([x, y, z], axis=2), inner_from=len(path))


def _sheet(points: Floats, inner_from: int) -> Solid:
    """The quadrilaterals between neighbours of a grid of points [rows, columns, 3]."""
    quads = np.stack([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=2)
    rows, columns = quads.shape[:2]
    row, column = np.divmod(np.arange(rows * columns), columns)
    return Solid(quads.reshape(-1, 4, 3), row / rows, column / columns, row >= inner_from)


def flat(spots: Floats, reach: float, turn: float) -> Solid:
    """Squares of half-width `reach` that lie around the spots [n, 2] on the table."""
    angle = turn - np.arange(4) * np.pi / 2
    square = np.stack([np.cos(angle), np.sin(angle), np.full(4, 0.004)], axis=1) * [reach, reach, 1.0]
    quads = square + np.pad(spots, ((0, 0), (0, 1)))[:, None]
    return Solid(quads, np.zeros(len(spots)), np.zeros(len(spots)), np.zeros(len(spots), dtype=bool))
