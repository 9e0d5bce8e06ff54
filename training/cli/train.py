"""The command `salver train` and its options."""

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

from salver.artifact.manifest import OUTPUT_NAMES
from salver.messages import errors_as_messages, speaks
from training.cli import train_options as options

EPILOGS = {
    "train": """Examples:

salver train photos --out runs/first

salver train photos --head svm --out runs/svm

salver train photos --recipe classic --out runs/classic

salver train photos --base mobilenet_v2 --weights offline --out runs/offline

salver train photos --out runs/seen --tensorboard runs/seen/tensorboard

PYTHONSAFEPATH=1 torchrun --nproc-per-node 2 -m training photos --out runs/two

'salver sample photos' makes a folder of photos to try them on."""
}
"""What stands under a command's help: each paragraph a line."""

# What imports torch is imported inside the functions: `salver train --help` has to be quick.


def train(
    data: options.Data,
    *,
    out: options.Out,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    tensorboard: options.Tensorboard = None,
    test_size: options.TestSize = 0.33,
    val_size: options.ValSize = None,
    split: options.SplitFile = None,
    group_by: options.GroupBy = None,
    seed: options.Seed = 0,
    on_bad: options.OnBad = "error",
    base: options.Base = None,
    weights: options.Weights = "imagenet",
    image_size: options.ImageSize = None,
    resize: options.Resize = "auto",
    head: options.Head = "softmax",
    svm_c: options.SvmC = 1.0,
    recipe: options.Recipe = "default",
    epochs: options.Epochs = None,
    learning_rates: options.LearningRates = None,
    batch_size: options.BatchSize = None,
    weight_decay: options.WeightDecay = None,
    augment: options.Augment = None,
    class_weights: options.ClassWeights = "auto",
    threshold: options.Threshold = None,
    outputs: options.Outputs = None,
    max_false_alarms: options.MaxFalseAlarms = 0.05,
    no_fingerprints: options.NoFingerprints = False,
    device: options.Device = "auto",
    mixed_precision: options.MixedPrecision = "auto",
    compiled: options.Compiled = False,
) -> None:
    """Train a net on a folder of photos, test it, and write model.onnx for 'salver serve'.

    A part of the photos, the test part, is scored once, at the end. The
    others are learnt in folds, so that each is also judged by what had not
    learnt it: temperature and out-of-fold accuracy come from that. The
    model file is written when the export gate finds that it
    answers as the trained net does. Accuracies, scores, history and
    settings lie beside it in the run folder.

    Ctrl-C finishes the step and keeps what is done. The same command with
    --resume goes on from there.
    """
    with errors_as_messages(again=f"Go on with: {_resuming()}"):
        from training.fit.recipe.recipe import PRESETS, Changes, parse_class_weights, parse_numbers
        from training.fit.recipe.schedule import parse_rates
        from training.progress import Screen, Shown, Silent
        from training.ranges import check_outputs
        from training.run.place import check_numbers, check_photos, check_place
        from training.run.stages import Stages

        stages = Stages()

        given = {
            "--epochs": epochs,
            "--learning-rates": learning_rates,
            "--batch-size": batch_size,
            "--weight-decay": weight_decay,
            "--augment": augment,
        }
        _refuse_without_effect(head, [option for option, value in given.items() if value is not None])
        chosen = PRESETS.get(recipe)
        base = base or (chosen.base if chosen else "resnet18")
        size = options.sides(image_size or str(chosen.image_side if chosen else 224))
        changes = Changes(
            epochs=epochs,
            learning_rates=None if learning_rates is None else parse_rates(learning_rates),
            batch_size=batch_size,
            weight_decay=weight_decay,
            augmentation=augment,
        )
        factors = parse_class_weights(class_weights)
        thresholds = {} if threshold is None else parse_numbers(",".join(threshold), "thresholds")
        answers = OUTPUT_NAMES if outputs is None else check_outputs(map(str.strip, outputs.split(",")))
        check_numbers(
            image_size=size,
            seed=seed,
            svm_c=svm_c,
            class_weights=factors,
            thresholds=thresholds,
            max_false_alarms=max_false_alarms,
            test_size=test_size,
            val_size=val_size,
        )
        check_place(
            data,
            out,
            base=base,
            weights=weights,
            device=device,
            mixed_precision=mixed_precision,
            tensorboard=tensorboard,
            split_file=split,
        )
        check_photos(data)

        console = Screen()
        if speaks():
            console.print(f"reading {data} …", highlight=False, markup=False, soft_wrap=True)
        from training.cli.ahead import LookingAhead

        with LookingAhead(data) if speaks() else nullcontext():
            from training.cli.folds import folds_command
            from training.cli.said.output import print_summary
            from training.run.run import train_run
            from training.run.settings import RunSettings
        stages.end("starting")
        settings = RunSettings(
            data=data,
            out=out,
            base=base,
            weights=weights,
            image_size=size,
            resize=resize,
            head=head,
            svm_c=svm_c,
            recipe=chosen.recipe if chosen else None,
            changes=changes,
            class_weights=factors,
            thresholds=thresholds,
            outputs=answers,
            max_false_alarms=max_false_alarms,
            fingerprints=not no_fingerprints,
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
            group_by=group_by,
        )
        if not speaks():
            train_run(settings, Silent(), stages)
            return
        with Shown(console) as progress:
            result = train_run(settings, progress, stages)
        if result is not None:
            print_summary(result, console, more=folds_command(settings))


def _refuse_without_effect(head: str, changes: list[str]) -> None:
    """A last layer alone is fitted to the features of the net as it is, in one go."""
    from training.errors import SettingError

    if head != "softmax" and changes:
        verb = "says" if len(changes) == 1 else "say"
        raise SettingError(
            f"{' and '.join(changes)} {verb} how all layers are trained, and --head {head} trains none of them: leave "
            f"{'it' if len(changes) == 1 else 'them'} out, or take --head softmax."
        )


def _resuming() -> str:
    """The command that is running, with --resume."""
    program = ["salver"] if Path(sys.argv[0]).name == "salver" else ["python", "-P", "-m", "training"]
    words = [*program, *sys.argv[1:]]
    return shlex.join(words) + ("" if "--resume" in words else " --resume")
