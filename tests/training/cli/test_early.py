"""What cannot work is said before torch is imported, and before a photo is decoded or scored."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.support.models import by_colour, constant
from tests.training.evaluation.evaluations import colour_folder
from tests.training.support.photos import photo_folder

ROOT = Path(__file__).parents[3]
WATCHED = """
import sys
from salver.cli import main
try:
    main()
finally:
    print("imported:", [name for name in ("torch", "sklearn", "onnxruntime") if name in sys.modules])
"""


def alone(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which says at its end what it has imported."""
    command = [sys.executable, "-c", WATCHED, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def salver(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(build(str(words[0])), [str(word) for word in words])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    photo_folder(tmp_path / "photos", {"cup": 4, "plate": 4})
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train {data} --out {top}/run --base resnet17", "There is no base 'resnet17'"),
        ("train {data} --out {top}/run --weights nowhere.pt", "There is no weights file 'nowhere.pt'"),
        ("train {data} --out {top}/run --weights offline", "offline weights for mobilenet_v2 alone"),
        ("train {top}/none --out {top}/run", "Cannot read"),
        ("train {data} --out {data}/run", "lies in the folder of photos"),
        ("train {data} --out {top}/file", "is a file"),
        ("train {data} --out {top}/run --tensorboard {top}/run/board", "lies in the run folder"),
        ("train {data} --out {top}/run --tensorboard {top}/file", "TensorBoard folder {top}/file is a file"),
        ("train {data} --out {top}/run --split {top}/none.csv", "none.csv"),
        ("train {data} --out {top}/run --split {top}/file", "file"),
        ("train {data} --out {top}/run --split {top}/half.csv", "no images for the part test"),
        ("train {data} --out {top}/run --threshold cup=80", "threshold of cup is 80.0"),
        ("train {data} --out {top}/run --image-size 32", "64 to 3584"),
        ("train {data} --out {top}/run --device cpu --mixed-precision fp16", "needs a GPU"),
        ("export {top}", "is not the folder of a finished run: it has no run.json"),
        ("augment {data} --preview {data}/sheet.png", "lies in the folder of photos"),
        ("augment {data} --preview {top}", "It is a folder"),
        ("evaluate {top}/model.onnx {data} --out {data}/report", "lies in the folder of photos"),
    ],
)
def test_it_is_said_before_torch_is_imported(data: Path, tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "half.csv").write_text("path,label,part,sha256\ncup/000.jpg,cup,train,0\n")
    ended = alone(*(word.format(data=data, top=tmp_path) for word in words.split()))
    assert ended.returncode in (1, 2), ended.stderr
    assert said.format(top=tmp_path) in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
    assert ended.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.skipif(Path("/dev/kfd").exists() or bool(shutil.which("nvidia-smi")), reason="this machine has a GPU")
def test_a_gpu_that_has_no_driver_is_missed_before_torch_is_imported(data: Path, tmp_path: Path) -> None:
    ended = alone("train", data, "--out", tmp_path / "run", "--device", "cuda")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (1, "imported: []")
    assert "finds no CUDA GPU" in ended.stderr


def broken(tmp_path: Path) -> Path:
    """Photos of which none can be decoded: whoever opens one says so."""
    for label in ("red", "green", "blue"):
        (tmp_path / "broken" / label).mkdir(parents=True)
        (tmp_path / "broken" / label / "1.png").write_bytes(b"no photo")
    return tmp_path / "broken"


@pytest.mark.torch
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train {data} --out {top}/run --split {top}/split.csv", "is not in {top}/split.csv"),
        ("train {data} --out {top}/run --base mobilenet_v2 --weights {top}/weights.pt", "is not a state_dict"),
        ("train {data} --out {top}/run --base mobilenet_v2 --weights {top}/other.safetensors", "does not fit"),
        ("train {data} --out {top}/run --threshold mug=0.5", "no label 'mug' that could have a threshold"),
        ("train {data} --out {top}/run --class-weights mug=2", "no label 'mug' that could have a class weight"),
        ("evaluate {model} {data} --out {top}/report --against {top}/none.onnx", "Cannot read the model file"),
        ("evaluate {model} {data} --out {top}/report --against {other}", "does not have it: its labels are a, b"),
        ("threshold {model} --label mug --min-precision 0.9 --data {data}", "no label 'mug'"),
        ("threshold {model} --label red --min-precision 0.9 --data {data} --out {top}", "It is a folder"),
        ("threshold {model} --label red --threshold 0.9 --out {top}/split.csv/x.onnx", "split.csv is no folder"),
        ("threshold {model} --label red --threshold 0.9 --part test", "--split and --part say which photos of --data"),
        ("check {data} --out {top}", "It is a folder"),
        ("split {data} --out {top}", "It is a folder"),
        ("split {top}/none --group-by (", "is not a regular expression"),
    ],
)
def test_it_is_said_before_a_photo_is_opened(tmp_path: Path, words: str, said: str) -> None:
    import torch
    from safetensors.torch import save_file

    data, model = broken(tmp_path), by_colour(tmp_path / "model.onnx")
    other = constant(tmp_path / "other.onnx", (0.0, 1.0))
    (tmp_path / "split.csv").write_text(
        "path,label,part,sha256\n"
        + "".join(f"red/{part}.png,red,{part},0\n" for part in ("train", "validation", "test"))
    )
    torch.save([1, 2], tmp_path / "weights.pt")
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    before = model.read_bytes()
    ended = salver(*(word.format(data=data, top=tmp_path, model=model, other=other) for word in words.split()))
    assert ended.exit_code in (1, 2), ended.output
    assert said.format(top=tmp_path) in " ".join(ended.output.split())
    assert "cannot be read. Mend" not in ended.output
    assert model.read_bytes() == before


@pytest.mark.torch
def test_a_folder_of_foreign_photos_without_any_is_missed_before_others_are_scored(
    finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    photos, model = finished_run.parent / "photos", finished_run / "model.onnx"
    ended = salver("evaluate", model, photos, "--out", tmp_path / "report", "--foreign", tmp_path / "none")
    assert ended.exit_code == 2
    assert "has no images. Name a folder of photos that are foreign" in ended.output
    assert "scoring" not in ended.output
    assert not (tmp_path / "report").exists()


@pytest.mark.torch
def test_a_threshold_that_changes_nothing_writes_nothing_and_says_so(tmp_path: Path) -> None:
    model = by_colour(tmp_path / "model.onnx")
    before = model.stat().st_mtime_ns
    none = salver("threshold", model, "--label", "red", "--threshold", "0")
    assert none.exit_code == 0
    assert "'red' has no threshold in version" in none.output
    assert "already: nothing was written" in none.output
    assert model.stat().st_mtime_ns == before
    assert salver("threshold", model, "--label", "red", "--threshold", "0.5").exit_code == 0
    changed = model.read_bytes()
    again = salver("threshold", model, "--label", "red", "--threshold", "0.5", "--out", tmp_path / "out.onnx")
    assert f"already: {tmp_path / 'out.onnx'} is a copy of it" in again.output
    assert (tmp_path / "out.onnx").read_bytes() == model.read_bytes() == changed
    other = salver("threshold", model, "--label", "red", "--threshold", "0.7", "--out", tmp_path / "out.onnx")
    assert "in place of the file before" in other.output


@pytest.mark.torch
def test_a_threshold_of_a_runs_own_model_says_of_which_version_its_figures_are(
    finished_run: Path, tmp_path: Path
) -> None:
    from training.evaluation.model_file import ModelFile

    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = ModelFile.read(run / "model.onnx").sha256
    files = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != "model.onnx"}
    for score in ("0.5", "0.6"):
        ended = salver("threshold", run / "model.onnx", "--label", "cup", "--threshold", score)
        assert ended.exit_code == 0, ended.output
        assert f"metrics.json and report.html beside it are of version {before[:12]} and stay so" in ended.output
    after = ModelFile.read(run / "model.onnx").manifest
    assert after.provenance.threshold_changes[0].from_sha256 == before
    assert {name: (run / name).read_bytes() for name in files} == files


@pytest.mark.torch
@pytest.mark.parametrize(
    "words",
    [
        "evaluate {model} {data} --out {run}",
        "evaluate {model} {data} --out {begun}",
        "threshold {model} --label red --threshold 0.5 --out {run}/model.onnx",
        "threshold {model} --label red --threshold 0.5 --out {run}/run.json",
        "export {other} --out {run}/model.onnx",
        "export {run} --out {run}/model.onnx",
        "check {data} --out {run}/metrics.json",
        "split {data} --out {run}/scores.csv",
        "augment {data} --preview {run}/history.png",
        "build {top}/spec.json --out {run}",
    ],
)
def test_no_command_writes_over_the_files_of_a_run(finished_run: Path, tmp_path: Path, words: str) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (tmp_path / "begun" / "checkpoint").mkdir(parents=True)
    (tmp_path / "begun" / "checkpoint" / "state.safetensors").write_bytes(b"x")
    (tmp_path / "spec.json").write_text('{"red": ["photos/red"], "blue": ["photos/blue"]}')
    data, model = colour_folder(tmp_path / "photos", 2), by_colour(tmp_path / "model.onnx")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    of = {"data": data, "model": model, "run": run, "other": finished_run, "top": tmp_path, "begun": tmp_path / "begun"}
    ended = salver(*(word.format(**of) for word in words.split()))
    assert ended.exit_code in (1, 2), ended.output
    assert "run of 'salver train'" in ended.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.torch
def test_a_file_that_is_replaced_is_said_to_be(data: Path, tmp_path: Path) -> None:
    words = ("augment", data, "--preview", tmp_path / "sheet.png")
    assert f"written to {tmp_path / 'sheet.png'}\n" in salver(*words).output
    assert f"written to {tmp_path / 'sheet.png'} in place of the file before" in salver(*words).output
