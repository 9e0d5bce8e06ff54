"""The report of an evaluation: metrics.json, report.html, and its pictures as PNG and SVG."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from salver.system.durable import durable
from salver.text import printable
from training.evaluation.comparison import compare
from training.evaluation.evaluate import Evaluation
from training.evaluation.metrics import data_facts, model_facts
from training.evaluation.schema import Foreign, MetricsFile, PartCounts, Seen
from training.fit.history import History
from training.report.page_data import PageData, page_data

PAGE = Path(__file__).with_name("page")
SCRIPTS = ("data", "heat", "chart", "filters", "grid", "viewer", "thresholds", "confusion", "figures", "page")
MAX_THUMBNAILS = 500
NO_EPOCHS = History(())
_NOT_SHOWN = {"confusion_matrix", "confusion_matrix_by_truth"}
"""The page counts its images instead."""


def metrics_of(
    evaluation: Evaluation,
    validation: Evaluation | None = None,
    cross_validated: Evaluation | None = None,
    old: Evaluation | None = None,
    foreign: Foreign | None = None,
    seen: Seen | None = None,
    old_seen: PartCounts | None = None,
) -> MetricsFile:
    """Every figure of the evaluation, of a run's `validation` part, of its training photos as they were judged out of
    fold, of the comparison with an `old` model, what `foreign_share` found, and what the models have `seen` of the
    images.

    Raises SettingError when `old` is of other images.
    """
    return MetricsFile(
        model=model_facts(evaluation),
        data=data_facts(evaluation),
        seen=seen,
        test=evaluation.metrics(),
        validation=validation.metrics() if validation else None,
        cross_validated=cross_validated.metrics() if cross_validated else None,
        comparison=compare(evaluation, old).model_copy(update={"old_seen": old_seen}) if old else None,
        foreign=foreign,
        by_folds=evaluation.by_folds,
    )


def write_report(
    folder: Path,
    evaluation: Evaluation,
    metrics: MetricsFile,
    *,
    history: History = NO_EPOCHS,
    old: Evaluation | None = None,
    max_thumbnails: int = MAX_THUMBNAILS,
) -> None:
    """FOLDER/metrics.json and FOLDER/report.html. Raises OSError."""
    with durable(folder / "metrics.json") as partial:
        partial.write_text(laid_out(metrics.model_dump(mode="json")) + "\n", encoding="utf-8")
    page = render(page_data(evaluation, metrics, history, old=old, max_thumbnails=max_thumbnails))
    with durable(folder / "report.html") as partial:
        partial.write_text(page, encoding="utf-8")


def render(data: PageData) -> str:
    """One HTML page that needs no other file and no network."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    script = "\n".join((PAGE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return environment.get_template("page.html").render(
        title=_title(data.metrics),
        style=Markup((PAGE / "page.css").read_text(encoding="utf-8")),  # noqa: S704  # ours
        script=Markup(script),  # noqa: S704  # ours
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_embedded(data),
    )


def _title(metrics: MetricsFile) -> str:
    """Of what it is an evaluation."""
    if metrics.by_folds:
        return f"{printable(metrics.by_folds.base)} by {len(metrics.by_folds.folds)} folds"
    return metrics.model.file if metrics.model else "a classifier"


def _embedded(data: PageData) -> Markup:
    """JSON that no text in it can end: HTML sees neither tags nor comments."""
    content = data.model_dump_json(
        exclude={"metrics": {"validation": True, "cross_validated": True, "test": _NOT_SHOWN}}
    )
    return Markup(content.replace("<", "\\u003c"))  # noqa: S704


def laid_out(value: object, indent: str = "") -> str:
    """Strict JSON to read and to compare: a line for each field, and lists of numbers on one."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        fields = [
            f"{inner}{json.dumps(name, ensure_ascii=False)}: {laid_out(part, inner)}" for name, part in value.items()
        ]
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return "[\n" + ",\n".join(f"{inner}{laid_out(part, inner)}" for part in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
