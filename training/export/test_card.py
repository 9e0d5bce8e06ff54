"""The test card inside the model file: a rendered JPEG and the answer that the trained net gave for it.

Rendered, because a model file goes to places where the photos it was trained on must not. The service decodes the card
when it starts and must get these logits, which tells another resize filter, orientation, normalisation or label order
before the first caller does.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image

from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME, Golden, Manifest, PixelSpec
from salver.artifact.pixels import decode, to_pixels
from salver.artifact.test_card import card_pixels
from training.export.gate import tolerance
from training.nets.nets import PixelNet

RELATIVE_TOLERANCE = 1e-3
"""Of the largest logit, or of 1. Another machine's arithmetic moves logits by about 1e-6 of it; a different resize
filter by several hundredths."""
ROUNDED_TOLERANCE = 0.02
"""The same for a file that rounds between its layers, at least; see `signed_again`."""
_TURNED = 6
"""EXIF orientation: the card is stored lying on its side, so a reader that ignores the tag gives other logits."""


def make_golden(net: PixelNet, spec: PixelSpec, labels: Sequence[str]) -> Golden:
    """The card for `spec` and the logits of `net`, which is on the CPU and in evaluation mode."""
    card = render_card(spec)
    pixels = to_pixels(decode(card, spec), spec)
    with torch.inference_mode():
        logits = net(torch.from_numpy(pixels)[None])[0].numpy()
    # Golden's image is base64 in JSON, so pydantic takes and gives it encoded.
    return Golden.model_validate(
        {
            "image": base64.b64encode(card),
            "logits": dict(zip(labels, logits.tolist(), strict=True)),
            "tolerance": tolerance(logits, RELATIVE_TOLERANCE),
        }
    )


def signed_again(
    manifest: Manifest, here: onnxruntime.InferenceSession, elsewhere: onnxruntime.InferenceSession
) -> Golden:
    """The card of `manifest` with the answer of a file made from its own, which rounds between its layers.

    Processors round differently, and where one number goes the other way the rest of the net follows. How far is
    measured: `here` and `elsewhere` are the file as two kinds of processor compute it. The tolerance is 1.5 times what
    lies between them.
    """
    card = card_pixels(manifest)[np.newaxis]
    logits, others = (session.run([OUTPUT_NAME], {INPUT_NAME: card})[0][0] for session in (here, elsewhere))
    return Golden.model_construct(
        image=manifest.golden.image,
        logits=dict(zip(manifest.labels, logits.tolist(), strict=True)),
        tolerance=max(tolerance(logits, ROUNDED_TOLERANCE), 1.5 * float(np.abs(logits - others).max())),
    )


def render_card(spec: PixelSpec) -> bytes:
    """A JPEG with smooth colours and fine grain; the same for the same `spec` and version of Pillow.

    A little over twice the size that the resize needs, so that the JPEG's scaled decoding takes part too.
    """
    shorter = round(2.2 * (spec.shorter_side or max(spec.height, spec.width)))
    size = (shorter * 4 // 3, shorter)
    generator = np.random.default_rng(2018)
    colours = _noise(generator, (8, 6), 255).resize(size, Image.Resampling.BICUBIC)
    grain = _noise(generator, (size[0] // 2, size[1] // 2), 255).resize(size, Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _TURNED
    card = io.BytesIO()
    Image.blend(colours, grain, 0.12).save(card, "JPEG", quality=60, exif=exif)
    return card.getvalue()


def _noise(generator: np.random.Generator, size: tuple[int, int], peak: int) -> Image.Image:
    pixels: NDArray[np.uint8] = generator.integers(0, peak, (size[1], size[0], 3), dtype=np.uint8, endpoint=True)
    return Image.fromarray(pixels)
