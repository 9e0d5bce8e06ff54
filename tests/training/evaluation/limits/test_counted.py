import csv
import io
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from salver.artifact.manifest import Manifest, Reference
from tests.support.models import SPEC, manifest_for
from training.errors import SettingError
from training.evaluation.limits.counted import METRIC, Window, judge, read_metrics, read_scores, since

VERSION, OTHER_VERSION = "a" * 64, "b" * 64
AWKWARD = 'a "cup", with\\saucer} 7\n'
LABELS = ("cup", "plate")


def manifest(reference: Reference | None = None) -> Manifest:
    return manifest_for(LABELS, SPEC, b"", [0.0, 0.0]).model_copy(update={"reference": reference})


def exposed(*lines: tuple[str, str, str, int]) -> str:
    """As the service's own library writes it."""
    registry = CollectorRegistry()
    counter = Counter(METRIC.removesuffix("_total"), "Images.", ("fact", "bin", "version"), registry=registry)
    for fact, name, version, count in lines:
        counter.labels(fact, name, version).inc(count)
    return generate_latest(registry).decode()


def test_what_the_library_writes_is_read_back_exactly() -> None:
    text = exposed(("label", AWKWARD, VERSION, 3), ("label", "é", VERSION, 2), ("familiarity", "-1.00", VERSION, 10**9))
    assert read_metrics(text, VERSION) == {"label": {AWKWARD: 3, "é": 2}, "familiarity": {"-1.00": 10**9}}


def test_the_lines_of_all_replicas_are_added_up_whatever_else_stands_in_them() -> None:
    text = "".join(
        f'{METRIC}{{pod="salver-{pod}",version="{VERSION}",bin="cup",fact="label",}} {pod + 1} 1700000000000\n'
        for pod in range(3)
    )
    assert read_metrics(text, VERSION) == {"label": {"cup": 6}}


def test_another_version_only_is_refused_by_name() -> None:
    """Int8 beside float, and a model that was exchanged (case N3-43)."""
    text = exposed(("label", "cup", OTHER_VERSION, 500))
    with pytest.raises(SettingError, match=r"version b{12}, and the model file is version a{12}"):
        read_metrics(text, VERSION)
    both = exposed(("label", "cup", OTHER_VERSION, 500), ("label", "cup", VERSION, 7))
    assert read_metrics(both, VERSION) == {"label": {"cup": 7}}


def test_what_are_no_metrics_of_a_service_is_refused() -> None:
    with pytest.raises(SettingError, match="no metrics of a Salver service"):
        read_metrics("<html>", VERSION)
    assert read_metrics("salver_ready 1.0\n", VERSION) == {}


@pytest.mark.parametrize(
    "line",
    ['{bin="a} 3', '{bin="a"} three', '{bin="a"} -1', '{bin="a"} 1.5', '{bin="a"} NaN', '{bin="a"} Inf', "{a=b} 1"],
)
def test_a_line_that_cannot_be_read_is_no_count_of_nothing(line: str) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        read_metrics(METRIC + line, VERSION)


def test_what_came_after_an_earlier_copy_is_its_difference() -> None:
    earlier, later = {"label": {"cup": 3}}, {"label": {"cup": 10, "plate": 2}, "mode": {"RGB": 12}}
    assert since(later, earlier) == {"label": {"cup": 7, "plate": 2}, "mode": {"RGB": 12}}
    with pytest.raises(SettingError, match="began to count anew"):
        since(earlier, later)


def window(images: int) -> Window:
    return {"label": {"cup": images // 2, "plate": images - images // 2}}


@pytest.mark.parametrize(
    ("reference", "images", "message"),
    [
        (None, 500, "exported by an earlier Salver"),
        (Reference(images=19, facts=window(19)), 500, "19 images; with fewer than 20"),
        (Reference(images=59, facts=window(59)), 49, "49 looks at the world so far; with fewer than 50"),
        (Reference(images=59, facts=window(59)), 0, "0 looks"),
        (Reference(images=59, facts={"label": {"of another Salver": 59}}), 500, "Other bins"),
    ],
)
def test_what_cannot_be_told_is_an_error(reference: Reference | None, images: int, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        judge(manifest(reference), window(images))


def test_a_window_like_the_reference_is_none() -> None:
    found = judge(manifest(Reference(images=59, facts=window(59))), window(50))
    assert (found.alarm, found.reference_images, found.looks) == (False, 59, 50)


def table(rows: list[list[object]], head: tuple[str, ...] = ("path", "truth", "predicted", "plate", "cup")) -> str:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([head, *rows])
    return file.getvalue()


def test_scores_are_counted_by_label_whatever_the_order_of_the_columns() -> None:
    text = table(
        [["a.jpg", "cup", "cup", 0, 2], ["again.jpg", "cup", "cup", 0, 2], ["b", "", "", "nan", 1], ["c", "", "", 9, 0]]
    )
    assert read_scores(text, manifest()) == {
        "label": {"cup": 1, "plate": 1},
        "probability": {"0.8000": 1, "0.9990": 1},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("path,label\n", "first line"),
        (table([], ("path", "truth", "predicted", "cup", "saucer")), "first line"),
        (table([["a.jpg", "cup", "cup", "many", 2]]), "Line 2 is no row"),
        (table([["a.jpg", "cup"]]), "Line 2 is no row"),
        (table([]) + '"open', "no row of scores"),
    ],
)
def test_a_table_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read_scores(text, manifest())


def test_the_table_of_a_run_is_read(finished_run: Path) -> None:
    from training.evaluation.model_file import ModelFile

    file = ModelFile.read(finished_run / "model.onnx")
    rows = (finished_run / "scores.csv").read_text().splitlines()
    found = read_scores((finished_run / "scores.csv").read_text(), file.manifest)
    assert 0 < sum(found["label"].values()) <= len(rows) - 1
