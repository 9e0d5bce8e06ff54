"""Whether the parts of a split have the shares that were asked for."""

from collections.abc import Collection, Mapping

from salver.text import counted
from training.dataset.reading.layout import Part

FEW = 3
"""Images that a part may be off without a word."""


def off_the_share(sizes: Mapping[Part, int], shares: Mapping[Part, float], given: Collection[Part] = ()) -> list[str]:
    """Lines on the parts whose number of images is more than a few off; `given` are those that folders made.

    A share is of all images, or, where folders are parts, of those that the part was cut from.
    """
    lines = []
    rest = sum(size for part, size in sizes.items() if part == "train" or part not in given)
    for part in ("test", "validation"):
        share = shares.get(part, 0.0)
        if not share or part in given or part not in sizes:
            continue
        wanted = share * rest
        if abs(sizes[part] - wanted) > FEW:
            lines.append(
                f"the {part} part has {sizes[part]} of {counted(rest, 'image')} ({sizes[part] / rest:.0%}), where "
                f"{share:.0%} was asked for: what belongs together stays together, and each label has images in every "
                "part. Smaller groups or more of them come nearer."
            )
        if given:
            rest -= sizes[part]
    return lines
