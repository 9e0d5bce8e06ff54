"""The commands that come before training: check, split, build, annotate, augment."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salver.messages import errors_as_messages, show, tell
from salver.rooms import Unavailable, load
from training.cli.train_options import expression
from training.fit.recipe.recipe import Augmentation
from training.ranges import SECONDS, SEED, check_shares

if TYPE_CHECKING:
    from training.run.label_errors import LabelJudge

# As in cli/train.py, imports stand inside the functions; nothing here imports torch, except for `augment` and the
# labels of `check`.

Data = Annotated[Path, typer.Argument(help="Folder of photos: one folder a label.")]


def check(
    data: Data,
    *,
    against: Annotated[Path | None, typer.Option(help="Another folder: report images that are in both.")] = None,
    quarantine: Annotated[
        bool,
        typer.Option("--quarantine", help="List unreadable files in DATA/quarantine.csv; training leaves them out."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Report to write; DATA/check.json unless named.")] = None,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels", help="Also list photos whose label the others contradict, in DATA/doubtful.csv for annotate."
        ),
    ] = False,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Of --labels: which photo is in which part, in place of the folders or DATA/split.csv.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NET",
            help="Of --labels: the net whose features tell, as for salver train.",
            show_default="resnet18",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Of --labels: imagenet, offline, or the file of a state_dict.",
            show_default="imagenet",
        ),
    ] = None,
) -> None:
    """Decode every image and report what is wrong. Exit code 0: no problem, 1: problems, 2: the check cannot run.

    A doubtful label is no problem: it is a photo to look at.
    """
    with errors_as_messages(code=2):
        from training.cli.said.label_errors import print_label_errors
        from training.cli.said.output import print_report
        from training.dataset import check as module
        from training.dataset.reading.doubtful import write_doubtful
        from training.dataset.reading.places import check_file, refuse_inside
        from training.errors import SettingError
        from training.progress import Screen, Shown

        without_effect = {"--split": split, "--base": base, "--weights": weights}
        if not labels and (given := [option for option, value in without_effect.items() if value is not None]):
            raise SettingError(f"{given[0]} goes with --labels: add that, or leave it out.")
        path = out or data / "check.json"
        for folder in (data, *([against] if against else [])):
            refuse_inside(folder, path, "The report", own="check.json")
        check_file(path, "The report")
        # Whatever is wrong with the net is said before the photos are looked at.
        judge = _judge(base or "resnet18", weights or "imagenet") if labels else None
        console = Screen()
        with Shown(console) as progress:
            report = module.check(data, against, quarantine=quarantine, progress=progress)
        report.write(path)
        print_report(report, console)
        if judge is not None:
            with Shown(console) as progress:
                found = judge.judge(data, split=split, progress=progress)
            replace(report, label_errors=found).write(path)
            write_doubtful(data, found.doubtful)
            print_label_errors(found, data, console)
        console.print(f"everything is in {path}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(int(report.problems > 0))


def _judge(base: str, weights: str) -> "LabelJudge":
    """Raises SettingError and WeightsError. Exit code 2 without the packages that a net needs."""
    try:
        module = load("training.run.label_errors", "'salver check --labels'", "train")
    except Unavailable as error:
        tell(str(error))
        raise typer.Exit(2) from None
    judge: LabelJudge = module.LabelJudge(base, weights)
    return judge


def split(
    data: Data,
    *,
    val_size: Annotated[float, typer.Option(help="Share of all images to watch while training; 0 for none.")] = 0.0,
    test_size: Annotated[float, typer.Option(help="Share of all images for the test at the end.")] = 0.33,
    seed: Annotated[int, typer.Option(min=SEED.low, max=SEED.high, help="Another seed gives another split.")] = 0,
    stratify: Annotated[bool, typer.Option(help="Every label has its share in every part.")] = True,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="Regular expression over names such as cup/0017_b.jpg: equal first groups stay together.",
            callback=expression,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; DATA/split.csv unless named.")] = None,
) -> None:
    """Split into training, validation and test parts, and keep that in a file for salver train --split."""
    with errors_as_messages():
        from salver.text import counted
        from training.dataset.dataset import Dataset
        from training.dataset.reading.places import check_file, refuse_inside
        from training.dataset.split.asked import off_the_share
        from training.dataset.split.groups import groups_by
        from training.errors import SettingError

        check_shares(val_size=val_size, test_size=test_size)
        path = out or data / "split.csv"
        refuse_inside(data, path, "The split file", own="split.csv")
        check_file(path, "The split file")
        dataset = Dataset.from_dir(data)
        try:
            groups = None if group_by is None else groups_by(group_by, (image.name for image in dataset.images))
        except SettingError as error:
            raise typer.BadParameter(str(error)) from error
        parts = dataset.split_as_given(val_size, test_size, stratify=stratify, seed=seed, groups=groups)
        replaced = " in place of the one before" if path.exists() else ""
        dataset.write_split(path, parts)
        show(dataset.summary())
        for part in filter(len, parts):
            counts = ", ".join(f"{label} {count}" for label, count in part.counts().items())
            show(f"{part.part}: {counted(len(part), 'image')} ({counts})")
        sizes = {part.part: len(part) for part in parts if part.part is not None}
        for line in off_the_share(sizes, {"validation": val_size, "test": test_size}, dataset.parts()):
            show(line)
        show(f"written to {path}{replaced}; next: salver train {data} --split {path} --out RUN")


def annotate(
    data: Data,
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Look at photos and label them in the browser, until Ctrl-C. What is said is kept in DATA/annotations.csv."""
    with errors_as_messages():
        from training.dataset.annotate.server import serve

        serve(data, port, lambda address: _show(address, browser=browser))


def augment(
    data: Data,
    preview: Annotated[Path, typer.Option(help="Contact sheet to write, a PNG.")],
    preset: Annotated[Augmentation, typer.Option(help="How they are changed.")] = "light",
    seed: Annotated[int, typer.Option(min=SEED.low, max=SEED.high, help="Another seed gives other changes.")] = 0,
) -> None:
    """Show what a preset of augmentation makes of the photos: each row is one photo and seven results."""
    with errors_as_messages():
        from training.dataset.dataset import Dataset
        from training.dataset.reading.places import check_file, refuse_inside

        refuse_inside(data, preview, "The contact sheet")
        check_file(preview, "The contact sheet")
        replaced = " in place of the file before" if preview.exists() else ""
        dataset = Dataset.from_dir(data)

        from training.report.contact_sheet import write_sheet  # imports torch

        write_sheet(preview, dataset, preset, seed)
        show(f"written to {preview}{replaced}")


def _show(address: str, *, browser: bool) -> None:
    show(f"open {address}\nThe address works once; the page then stays open to this browser. Ctrl-C ends it.")
    if browser:
        typer.launch(address)


def build(
    spec: Annotated[Path, typer.Argument(help='JSON: {"label": ["text query", "folder", "https://image"], …}.')],
    *,
    out: Annotated[Path, typer.Option(help="Folder to fill; a second run goes on where the first one ended.")],
    provider: Annotated[
        str, typer.Option(help="Who answers text queries: openverse, which gives openly licensed works.")
    ] = "openverse",
    per_query: Annotated[int, typer.Option(min=1, max=400, help="Images to try for a text query.")] = 50,
    connections: Annotated[int, typer.Option(min=1, max=64, help="Downloads at once.")] = 16,
    per_host: Annotated[int, typer.Option(min=1, max=16, help="Of them, from one host.")] = 4,
    timeout: Annotated[
        float, typer.Option(min=SECONDS.low, max=SECONDS.high, help="Seconds for one image, retries included.")
    ] = 30.0,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of one image.")] = 20 * 1024**2,
    contact: Annotated[str, typer.Option(help="Your address or page, for the user agent; some hosts want one.")] = "",
) -> None:
    """Build a data set from folders, URLs and text queries. Exit code 0: whole, 3: parts are missing, 1: none."""
    with errors_as_messages():
        from salver.text import counted
        from training.dataset.gather import build as module
        from training.dataset.gather.download import DownloadLimits
        from training.dataset.gather.providers import provider as named
        from training.dataset.gather.spec import QuerySource, describe, read_spec
        from training.dataset.reading.places import refuse_run
        from training.progress import Screen, Shown

        refuse_run(out, "The folder to fill")
        sources = read_spec(spec)
        asked = named(provider) if any(isinstance(source, QuerySource) for source in sources) else None
        limits = DownloadLimits(connections, per_host, timeout, max_bytes, contact=contact)
        console = Screen()
        console.print(describe(sources), highlight=False, markup=False, soft_wrap=True)
        with Shown(console) as progress:
            report = module.build(sources, out, asked, per_query=per_query, limits=limits, progress=progress)
        lines = [
            f"{counted(report.added, 'image')} added, {report.kept} kept from an earlier run, "
            f"{counted(report.copies, 'copy', 'copies')} left out, {len(report.failures)} failed",
            *(f"  {failure.label}: {failure.source}: {failure.reason}" for failure in report.failures[:20]),
            *(["  …"] if len(report.failures) > 20 else []),
            f"origins are in {out / 'sources.csv'}, failures in {out / 'failures.csv'}; next: salver check {out}",
        ]
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(3 if report.failures else 0)
