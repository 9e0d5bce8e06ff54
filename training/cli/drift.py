"""The command `salver drift`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salver.messages import errors_as_messages

if TYPE_CHECKING:
    from rich.table import Table

    from training.evaluation.limits.counted import Drift, Window
    from training.evaluation.limits.drift import FactDrift
    from training.evaluation.model_file import ModelFile

# As in cli/train.py, imports stand inside the functions: `salver --help` has to be quick.

EPILOGS = {
    "drift": """Examples:

salver drift model.onnx --metrics http://127.0.0.1:8000/metrics

salver drift model.onnx --metrics now.txt --since yesterday.txt --json""",
}
MAX_BYTES = 64 * 1024**2
TIMEOUT_SECONDS = 10.0
BAR = 24


def drift(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model file that the service serves.")],
    *,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE", show_default=False, help="The service's /metrics, or a file that they were kept in."
        ),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Metrics kept earlier: look at what came after them."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False, help="A scores.csv instead: labels and probabilities are compared."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compare what a service is sent with the photos that its model file was made for.

    Two histograms of each fact: of photos that training did not see, out of
    the model file, and of the images that the service scored. At most 1 window
    in 50,000 in which nothing changed is an alarm, over all facts together; a
    change of less than 10 % of the images is none, however sure.

    Exit code 0: no drift. 1: drift. 2: cannot tell, as of another model
    version, of fewer than 50 images, or of a file without a reference.
    """
    with errors_as_messages(code=2):
        from training.errors import SettingError
        from training.evaluation.limits.counted import judge, read_scores
        from training.evaluation.model_file import ModelFile

        if (metrics is None) == (scores is None):
            raise SettingError("Give either --metrics or --scores.")
        if since is not None and metrics is None:
            raise SettingError("--since goes with --metrics.")
        file = ModelFile.read(model)
        if scores is not None:
            _check_run(scores, file)
            source, window = str(scores), read_scores(_read(scores), file.manifest)
        else:
            assert metrics is not None
            source, window = metrics, _counted(metrics, since, file)
        found = judge(file.manifest, window)
        if as_json:
            _print_json(file, source, found)
        else:
            _print(file, source, found, trusted=scores is not None)
    raise typer.Exit(int(found.alarm))


def _counted(metrics: str, earlier: Path | None, file: "ModelFile") -> "Window":
    from training.evaluation.limits.counted import read_metrics, since

    before = None if earlier is None else read_metrics(_read(earlier), file.sha256)
    text = _fetched(metrics) if metrics.startswith(("http://", "https://")) else _read(Path(metrics))
    window = read_metrics(text, file.sha256)
    return window if before is None else since(window, before)


def _read(path: Path) -> str:
    from salver.system.regular_file import read_regular

    return read_regular(path, MAX_BYTES).decode(errors="surrogateescape")


def _fetched(url: str) -> str:
    """The text at a URL. Raises SettingError."""
    import httpx

    from salver.client.errors import ServiceUnreachable
    from salver.client.web import Connections, reason
    from salver.text import printable, without_login
    from training.errors import SettingError

    shown = printable(without_login(url))
    try:
        with Connections(url, TIMEOUT_SECONDS).http as http, http.stream("GET", url, follow_redirects=True) as answer:
            if answer.status_code != 200:
                raise SettingError(f"{shown} answers {answer.status_code}. Give the address of the service's /metrics.")
            data = b""
            for piece in answer.iter_bytes():
                data += piece
                if len(data) > MAX_BYTES:
                    raise SettingError(f"{shown} answers more than {MAX_BYTES >> 20} MiB: these are no metrics.")
            return data.decode(errors="replace")
    except (httpx.HTTPError, httpx.InvalidURL, ServiceUnreachable) as error:
        raise SettingError(f"{shown} cannot be read: {reason(error)}.") from error


def _check_run(scores: Path, file: "ModelFile") -> None:
    """The record beside a table of scores names the version that they are of. Raises SettingError."""
    import json

    from training.dataset.reading.own import RECORD
    from training.errors import SettingError

    try:
        record = json.loads(_read(scores.with_name(RECORD)))
    except (OSError, ValueError):
        return
    version = record.get("model_sha256") if isinstance(record, dict) else None
    if isinstance(version, str) and version != file.sha256:
        raise SettingError(
            f"{scores} is of version {version[:12]}, by the {RECORD} beside it, and {file.path} is version "
            f"{file.sha256[:12]}: what one version answers says nothing of another."
        )


def _print(file: "ModelFile", source: str, found: "Drift", *, trusted: bool) -> None:
    from salver.text import counted, without_login
    from training.evaluation.limits.drift import FALSE_ALARMS, LEAST_CHANGE, least_visible
    from training.progress import Screen

    console = Screen()
    lines = [
        f"{file.path}, version {file.sha256[:12]}: {counted(found.reference_images, 'image')} of reference beside "
        f"{counted(found.looks, 'look')} at the world from {without_login(source)}"
    ]
    if trusted:
        lines.append("a table of scores does not say which version it is of: that it is this one's is taken on trust")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(_summary(found))
    least = least_visible(found.reference_images, found.looks)
    console.print(
        "so few images cannot show any drift"
        if least is None
        else f"with so many images, what makes up less than {100 * least:.0f} % of the window cannot be told",
        highlight=False,
        markup=False,
    )
    for fact in found.facts:
        if fact.alarm:
            console.print(_histograms(fact))
    moved = [fact.fact for fact in found.facts if fact.alarm]
    verdict = f"drift: {', '.join(moved)} moved" if moved else "no drift"
    console.print(verdict, style="red" if moved else "green", highlight=False, markup=False)
    if not moved and any(fact.p_value <= FALSE_ALARMS / len(found.facts) for fact in found.facts):
        console.print(
            f"(what did change is less than {100 * LEAST_CHANGE:.0f} % of the images)", highlight=False, markup=False
        )


def _summary(found: "Drift") -> "Table":
    from rich.table import Table

    table = Table("fact", "where it differs most", "reference", "window", "p", "")
    for fact in found.facts:
        where = f"below {_shown(fact, fact.question)}" if fact.numeric else fact.question
        where = where if fact.change else "nowhere"
        shares = [f"{100 * share:.1f} %" for share in (fact.reference_share, fact.window_share)]
        table.add_row(fact.fact, where, *shares, f"{fact.p_value:.2g}", "[red]moved[/red]" if fact.alarm else "")
    return table


def _histograms(fact: "FactDrift") -> "Table":
    """Both, bin by bin, from the first to the last that is not empty."""
    from rich.table import Table

    rows = list(zip(fact.bins, fact.reference, fact.window, strict=True))
    used = [place for place, (_, reference, window) in enumerate(rows) if reference or window]
    kept = rows[used[0] : used[-1] + 1] if fact.numeric else [rows[place] for place in used]
    totals = sum(fact.reference), sum(fact.window)
    table = Table(f"{fact.fact}{' from' if fact.numeric else ''}", "reference", "window", title=None)
    for name, *counts in kept:
        shares = [count / total for count, total in zip(counts, totals, strict=True)]
        table.add_row(
            _shown(fact, name), *(f"{'█' * round(BAR * share)} {100 * share:.1f} %".strip() for share in shares)
        )
    return table


def _shown(fact: "FactDrift", name: str) -> str:
    """A bin's name, of numbers without the zeros that fill it up."""
    return f"{float(name):g}" if fact.numeric else name


def _print_json(file: "ModelFile", source: str, found: "Drift") -> None:
    import json
    from dataclasses import asdict

    from salver.messages import show
    from salver.text import printable_json, without_login
    from training.evaluation.limits.drift import FALSE_ALARMS, LEAST_CHANGE

    content = {
        "model": str(file.path),
        "version": file.sha256,
        "source": without_login(source),
        "drift": found.alarm,
        "false_alarm_rate": FALSE_ALARMS,
        "least_change": LEAST_CHANGE,
        "reference_images": found.reference_images,
        "looks": found.looks,
        "facts": [asdict(fact) | {"change": fact.change} for fact in found.facts],
    }
    show(printable_json(json.dumps(content, indent=2, ensure_ascii=False)))
