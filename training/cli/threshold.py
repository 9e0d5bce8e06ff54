"""The command `salver threshold`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salver.messages import errors_as_messages, show
from salver.text import counted
from training.cli.evaluation import Model, Part, Split
from training.cli.said.output import shown

if TYPE_CHECKING:
    from training.evaluation.model_file import ModelFile
    from training.evaluation.thresholds import Effect

# As in cli/train.py, imports stand inside the function: `salver --help` has to be quick.

EPILOGS = {
    "threshold": """Examples:

salver threshold model.onnx --label cup --threshold 0.8

salver threshold model.onnx --label cup --min-precision 0.95 --data validation""",
}


def threshold(
    model: Model,
    *,
    label: Annotated[str, typer.Option(metavar="LABEL", help="The label that gets the threshold.")],
    value: Annotated[
        float | None,
        typer.Option(
            "--threshold", metavar="SCORE", min=0, max=1, show_default=False, help="From 0 to 1; 0 removes the label's."
        ),
    ] = None,
    min_precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", min=0, max=1, show_default=False, help="Choose the lowest that reaches this on --data."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", show_default=False, help="Validation photos: one folder for each label."),
    ] = None,
    split: Split = None,
    part: Part = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default="MODEL itself", help="Where the new version is written."),
    ] = None,
) -> None:
    """Give a label a threshold: the service then gives it only to images that score as much.

    The threshold is a softmax score, after the temperature. It is kept in
    the model file, which becomes a new version, with how it was chosen. Choose
    on validation photos, not on those that the model is tested on.
    """
    with errors_as_messages():
        from training.dataset.reading.places import check_file, refuse_inside
        from training.dataset.test_set import read_test_set
        from training.errors import SettingError
        from training.evaluation.evaluate import evaluate as score
        from training.evaluation.limits.seen import known_part, known_photos, part_counts
        from training.evaluation.model_file import ModelFile
        from training.evaluation.thresholds import check_label, choose_threshold, effect, set_threshold

        if (value is None) == (min_precision is None):
            raise SettingError("Give either --threshold or --min-precision.")
        if min_precision is not None and data is None:
            raise SettingError("--min-precision needs photos to measure it on: name their folder with --data.")
        if data is None and (split is not None or part is not None):
            raise SettingError("--split and --part say which photos of --data are looked at: name their folder.")
        target = model if out is None else out
        if data is not None and out is not None:
            refuse_inside(data, out, "The model file")
        file = ModelFile.read(model)
        check_label(file.labels, label)
        own = target.exists() and target.samefile(model)
        if not own:
            check_file(target, "The model file")
        replaced = target.exists() and not own
        evaluation, fingerprint = None, None
        if data is not None:
            known = known_photos(file)
            chosen = read_test_set(data, split, part, known=known, usual="validation")
            known_of = [known_part(part_counts(known, chosen.folder.images))] if known else []
            for note in (*known_of, *chosen.scored.notes):
                show(note)
            evaluation, fingerprint = score(file, chosen.scored), chosen.scored.fingerprint()
            if min_precision is not None:
                value = choose_threshold(evaluation, label, min_precision)
        assert value is not None
        written = set_threshold(file, target, label, value, min_precision=min_precision, fingerprint=fingerprint)
        if evaluation is not None:
            show(_effect_line(effect(evaluation, label, value)))
        for line in _written(label, value, file, written, replaced=replaced):
            show(line)


def _written(label: str, value: float, file: "ModelFile", written: "ModelFile", *, replaced: bool) -> list[str]:
    """What has become of the file, and of the figures beside it."""
    given = f"has the threshold {value:.6g}" if value else "has no threshold"
    version = written.sha256[:12]
    if written.sha256 == file.sha256:
        done = "nothing was written" if written.path.samefile(file.path) else f"{written.path} is a copy of it"
        return [f"'{label}' {given} in version {version} already: {done}"]
    place = ", in place of the file before" if replaced else ""
    lines = [f"'{label}' {given}; {written.path} is version {version} now{place}"]
    figures = _version_of_figures(written.path.parent)
    if figures and figures != written.sha256:
        lines.append(
            f"metrics.json and report.html beside it are of version {figures[:12]} and stay so: 'salver evaluate "
            f"{written.path} PHOTOS --out REPORT' writes those of the new one"
        )
    return lines


def _version_of_figures(folder: Path) -> str:
    """The version that the metrics.json there is of; empty where there is none."""
    import json

    try:
        content = json.loads((folder / "metrics.json").read_bytes())
        return str(content["model"]["sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _effect_line(found: "Effect") -> str:
    return (
        f"on these photos: precision {shown(found.precision)}, recall {shown(found.recall)}, "
        f"{found.accepted} of {counted(found.predicted, 'image')} that would get the label "
        f"{'is' if found.accepted == 1 else 'are'} accepted"
    )
