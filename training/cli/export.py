"""The commands `salver sample` and `salver export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from salver.messages import errors_as_messages
from training.ranges import COUNT, SEED

# Everything that imports torch is imported inside the functions: `salver --help` has to be quick.


def sample(
    out: Annotated[Path, typer.Argument(help="Folder to write to, new or empty: one folder of pictures a label.")],
    count: Annotated[int, typer.Option(min=COUNT.low, max=COUNT.high, help="Pictures of each label.")] = 40,
    seed: Annotated[int, typer.Option(min=SEED.low, max=SEED.high, help="Another seed gives other pictures.")] = 0,
) -> None:
    """Render the tableware sample: bowl, cup, cutlery, plate."""
    with errors_as_messages():
        from training.dataset.gather.sample.render import LABELS, write_sample
        from training.dataset.reading.places import refuse_among_photos
        from training.progress import Screen, Shown

        refuse_among_photos(out, "The folder")
        console = Screen()
        with Shown(console) as progress:
            progress.begin("rendering", count * len(LABELS))
            write_sample(out, count, seed, lambda: progress.advance(1))
        console.print(f"{count * len(LABELS)} pictures of {', '.join(LABELS)} are in {out}", soft_wrap=True)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    precision: Annotated[
        Literal["fp16", "int8"],
        typer.Option(help="Of weights and activations: int8 is faster on CPUs, fp16 is meant for GPUs."),
    ] = "int8",
    out: Annotated[Path | None, typer.Option(help="File to write; RUN/model.PRECISION.onnx unless named.")] = None,
    max_accuracy_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Refuse to lose more validation accuracy than this.")
    ] = 0.01,
) -> None:
    """Export another precision of a finished run, through the same gate."""
    with errors_as_messages():
        from training.dataset.reading.own import RECORD
        from training.dataset.reading.places import check_file
        from training.errors import SettingError

        target = out or run / f"model.{precision}.onnx"
        if not (run / RECORD).exists():
            raise SettingError(f"{run} is not the folder of a finished run: it has no {RECORD}.")
        check_file(target, "The model file")
        replaced = target.exists()

        from training.cli.said.output import print_comparison
        from training.export.precision import export_precision
        from training.progress import Screen, Shown
        from training.run.folder import read_run

        console = Screen()
        with Shown(console) as progress:
            comparison = export_precision(
                read_run(run), precision, target, max_accuracy_loss=max_accuracy_loss, progress=progress
            )
        print_comparison(comparison, console, replaced=replaced)
