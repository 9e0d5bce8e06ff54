"""`salver sample`: a rendered stand-in for a folder of photos of tableware.

Only shape tells the labels apart. Palette, finish, table, light, viewpoint, size in the frame and clutter come from the
same distributions for every label, so a network has to know shapes; that is what pretrained features bring.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from salver.system.durable import durable
from training.dataset.gather.sample.materials import Light, draw_finish, draw_light, shade
from training.dataset.gather.sample.scene import Pixels, View, draw_backdrop, draw_view
from training.dataset.gather.sample.shapes import SHAPES, Floats, Solid, flat
from training.errors import TrainingError
from training.ranges import COUNT, SEED

LABELS = tuple(SHAPES)


class ForeignFolder(TrainingError):
    """The output folder holds something that `write_sample` did not put there."""


def render(label: str, index: int, seed: int = 0, size: tuple[int, int] | None = None) -> Image.Image:
    """One RGB picture of one of LABELS, the same for the same arguments; `size` (width, height) is drawn when None."""
    rng = np.random.default_rng([SEED.check(seed), LABELS.index(label), index])
    drawn = _draw_size(rng)
    return _expose(_compose(label, size or drawn, rng), rng)


def write_sample(out: Path | str, count: int = 40, seed: int = 0, progress: Callable[[], None] | None = None) -> None:
    """Write OUT/LABEL/LABEL-000.jpg and so on, `count` a label; `progress` is called after each file.

    A file gets its name only when it is complete, and a second call writes the same files again. Raises ForeignFolder
    before anything is written when `out` holds anything else, SettingError for a count or seed out of range.
    """
    COUNT.check(count)
    SEED.check(seed)
    out = Path(out)
    paths = {out / label / f"{label}-{index:03d}.jpg": (label, index) for index in range(count) for label in LABELS}
    _refuse_foreign(out, set(paths))
    for path, (label, index) in paths.items():
        quality = int(np.random.default_rng([seed, index]).integers(60, 96))
        with durable(path) as partial:
            render(label, index, seed).save(partial, "JPEG", quality=quality)
        if progress:
            progress()


def _refuse_foreign(out: Path, ours: set[Path]) -> None:
    if out.exists() and not out.is_dir():
        raise ForeignFolder(f"{out} is a file: name a folder that is new or empty.")
    known = ours | {path.parent for path in ours}
    for path in sorted(out.rglob("*")):
        if path not in known and not path.match(".*.partial"):  # a killed run may leave an unfinished file
            raise ForeignFolder(f"{out} already holds {path.relative_to(out)}: name a folder that is new or empty.")


def _draw_size(rng: np.random.Generator) -> tuple[int, int]:
    side, stretch = rng.uniform(260, 320), np.exp(rng.uniform(-0.16, 0.16))
    return round(side * stretch), round(side / stretch)


def _compose(label: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """The scene as it is, before a camera leaves its traces."""
    light = draw_light(rng)
    main = SHAPES[label](rng)
    view = _framed(draw_view(rng), main, size, rng)
    solids = [main, *_neighbours(view, size, rng), *_scraps(rng)]
    backdrop = draw_backdrop(view.halved(), (size[0] // 2, size[1] // 2), light, rng)
    shaded = backdrop.pixels * _shadow(solids, view.halved(), (size[0] // 2, size[1] // 2), light, rng=rng)
    scene = Image.fromarray(_to_bytes(shaded)).resize(size, Image.Resampling.BICUBIC).convert("RGBA")
    colours = [shade(solid, draw_finish(rng, backdrop.colour), light, view.eye, rng=rng) for solid in solids]
    scene.alpha_composite(_drawn(solids, colours, view, size))
    return scene.convert("RGB")


def _framed(view: View, main: Solid, size: tuple[int, int], rng: np.random.Generator) -> View:
    """The view moved and zoomed so that `main` fills part of the frame and lies somewhere in it."""
    corners = view.project(main.quads)[..., :2].reshape(-1, 2)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = float(rng.uniform(0.6, 0.88) * (np.array(size) / (high - low)).min())
    free = np.array(size) - scale * (high - low)
    corner = free * rng.uniform(0.15, 0.85, 2) - scale * low
    return View(view.elevation, view.roll, view.distance, scale, (float(corner[0]), float(corner[1])))


def _neighbours(view: View, size: tuple[int, int], rng: np.random.Generator) -> list[Solid]:
    """Other tableware, pushed away from the middle until its own middle has left the frame."""
    solids = []
    for _ in range(rng.integers(0, 2)):
        solid = SHAPES[str(rng.choice(LABELS))](rng)
        turn, away = rng.uniform(0, 2 * np.pi), 1.9
        while away < 6 and _in_frame(view, size, away * np.cos(turn), away * np.sin(turn)):
            away += 0.1
        solids.append(solid.placed(0.0, rng.uniform(0.7, 1.1), (away * np.cos(turn), away * np.sin(turn))))
    return solids


def _in_frame(view: View, size: tuple[int, int], x: float, y: float) -> bool:
    seen = view.project(np.array([x, y, 0.0]))
    return bool(0 <= seen[0] < size[0] and 0 <= seen[1] < size[1])


def _scraps(rng: np.random.Generator) -> list[Solid]:
    """Sometimes crumbs, sometimes a napkin: flat things that lie on the table."""
    scraps = []
    if rng.random() < 0.45:
        spot, reach = rng.uniform(-1.5, 1.5, 2), rng.uniform(0.8, 1.6)
        scraps.append(flat(np.array([spot]), reach, turn=rng.uniform(0, np.pi)))
    if rng.random() < 0.5:
        spots = rng.normal(0, 0.5, (int(rng.integers(4, 30)), 2)) + rng.uniform(-1.5, 1.5, 2)
        scraps.append(flat(spots, rng.uniform(0.02, 0.05), turn=rng.uniform(0, np.pi)))
    return scraps


def _shadow(
    solids: list[Solid], view: View, size: tuple[int, int], light: Light, *, rng: np.random.Generator
) -> Pixels:
    """What soft shadows leave of the light on the table, [height, width, 1] in 0..1."""
    quads = np.concatenate([solid.quads[~solid.inner] for solid in solids])
    fallen = quads - quads[..., 2:] / light.direction[2] * light.direction
    darkest = int(rng.integers(75, 180))
    mask = Image.new("L", size, 255)
    draw = ImageDraw.Draw(mask)
    for outline in view.project(fallen)[..., :2].reshape(-1, 8).tolist():
        draw.polygon(outline, fill=darkest)
    soft = mask.filter(ImageFilter.GaussianBlur(rng.uniform(1.0, 6.0)))
    return np.asarray(soft, dtype=np.float32)[..., None] / np.float32(255)


def _drawn(solids: list[Solid], colours: list[Floats], view: View, size: tuple[int, int]) -> Image.Image:
    """The solids over nothing: far to near, at twice the size against jagged edges."""
    points = view.project(np.concatenate([solid.quads for solid in solids]))
    corners, fills = points[..., :2] * 2, np.concatenate(colours)
    one, two = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    lying = np.concatenate([np.full(len(solid.quads), solid.quads[..., 2].max() < 0.01) for solid in solids])
    order = np.argsort(-points[..., 2].mean(axis=1) - 100 * lying, kind="stable")
    order = order[(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])[order] > 0]  # those that face the viewer
    layer = Image.new("RGBA", (size[0] * 2, size[1] * 2))
    draw = ImageDraw.Draw(layer)
    for outline, fill in zip(corners[order].reshape(-1, 8).tolist(), _to_bytes(fills[order]).tolist(), strict=True):
        draw.polygon(outline, fill=tuple(fill))
    return layer.reduce(2)


def _expose(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What a camera makes of the scene: exposure, contrast, lens blur and sensor noise."""
    exposure = rng.uniform(0.8, 1.2) * (0.4 / max(np.asarray(scene.reduce(8)).mean() / 255, 0.05)) ** 0.6
    tone = np.clip(np.arange(256) / 255 * exposure, 0, 1) ** rng.uniform(0.65, 0.95)
    curve = _to_bytes(0.5 + (tone - rng.uniform(0.45, 0.55)) * rng.uniform(0.55, 1.1))
    blurred = scene.filter(ImageFilter.BoxBlur(rng.uniform(0.0, 0.9))).point(curve.tolist() * 3)
    noise = rng.standard_normal((scene.height, scene.width, 1), dtype=np.float32) * rng.uniform(0.005, 0.04)
    return Image.fromarray(_to_bytes(np.asarray(blurred, dtype=np.float32) / 255 + noise))


def _to_bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 1) * 255, dtype=np.uint8)
