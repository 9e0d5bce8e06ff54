"""What `salver check --labels` says at its end."""

from pathlib import Path

from rich.console import Console

from salver.text import counted
from training.cli.said.output import SHOWN, as_printable
from training.dataset.reading.doubtful import Doubtful, LabelErrors, LookAlike


def print_label_errors(found: LabelErrors, data: Path, console: Console) -> None:
    """How many labels are doubtful, the first few by name, what cannot be told, and how to look at them."""
    few = [f"'{label}' ({count})" for label, count in found.too_few.items()]
    have = "has" if len(found.doubtful) == 1 else "have"
    lines = [
        f"{len(found.doubtful)} of {counted(found.judged, 'photo')} {have} a doubtful label: by the features of "
        f"{found.net.partition(',')[0]} another one is more probable by more than {found.margin}",
        *(f"  {_doubt(one)}" for one in found.doubtful[:SHOWN]),
        *(["  …"] if len(found.doubtful) > SHOWN else []),
    ]
    if few:
        lines.append(f"cannot be told of labels with fewer than {found.least} different photos: {', '.join(few)}")
    if found.never_judged:
        names = ", ".join(as_printable(found.never_judged[:SHOWN])) + (", …" if len(found.never_judged) > SHOWN else "")
        lines.append(
            f"{counted(len(found.never_judged), 'photo')} never judged, as nothing apart from them has their label, or "
            f"their features say nothing: {names}"
        )
    if found.unreadable:
        lines.append(f"{counted(len(found.unreadable), 'photo')} left out, unreadable")
    lines += _look_alikes(found)
    if found.doubtful:
        lines.append(f"nothing was changed; look at them, the most doubtful first, with: salver annotate {data}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _look_alikes(found: LabelErrors) -> list[str]:
    """Those in two parts first, which make the figures too good."""
    if not found.look_alikes:
        return []
    apart = [pair for pair in found.look_alikes if pair.parts[0] != pair.parts[1]]
    pairs = [*apart, *(pair for pair in found.look_alikes if pair.parts[0] == pair.parts[1])]
    where = f", of which {len(apart)} {'lies' if len(apart) == 1 else 'lie'} in two parts" if apart else ""
    return [
        f"{counted(len(pairs), 'pair')} of photos look alike to the net: turned a little, moved, cropped or of one "
        f"series{where}; a split keeps them together with --group-by alone",
        *(f"  {_alike(pair)}" for pair in pairs[:SHOWN]),
        *(["  …"] if len(pairs) > SHOWN else []),
    ]


def _alike(pair: LookAlike) -> str:
    one, other = as_printable(pair.names)
    parts = f": {pair.parts[0]} and {pair.parts[1]}" if pair.parts[0] != pair.parts[1] else ""
    return f"{one} and {other} ({pair.cosine:.2f}){parts}"


def _doubt(one: Doubtful) -> str:
    (name,) = as_printable((one.name,))
    part = f", {one.part} part" if one.part else ""
    return f"{name}: is '{one.label}' ({one.probability:.2f}), looks like '{one.suggested}'{part}"
