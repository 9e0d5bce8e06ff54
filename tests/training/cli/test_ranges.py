"""Numbers and names that cannot be meant are refused before any work: no photo is read for them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.transforms import v2
from typer.testing import CliRunner

from salver.cli import build
from tests.support.models import manifest_for
from training.dataset.dataset import Dataset, LabelledImage
from training.dataset.gather.download import DownloadLimits
from training.dataset.gather.sample.render import render, write_sample
from training.errors import SettingError, TrainingError
from training.export.precision import FloatModel, export_precision
from training.fit.augmentation import augment
from training.fit.heads.linear import svm
from training.fit.recipe.recipe import Recipe
from training.fit.recipe.schedule import Cosine, Stepwise
from training.nets.nets import pixel_spec
from training.progress import Silent
from training.ranges import SEED
from training.report.contact_sheet import contact_sheet
from training.run.classifier import Classifier

pytestmark = pytest.mark.torch

NAN, INFINITY = float("nan"), float("inf")


def refused(command: str, *words: str) -> str:
    """What `salver COMMAND WORDS` says when it ends otherwise than well, without a traceback."""
    result = CliRunner().invoke(build(command), [command, *words], env={"COLUMNS": "200"})
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    "option", ["--epochs=3", "--learning-rates=0.1", "--batch-size=4", "--weight-decay=3", "--augment=trivial"]
)
def test_what_only_fine_tuning_takes_is_refused_with_a_support_vector_machine(option: str, tmp_path: Path) -> None:
    said = refused("train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), "--head=svm", option)
    assert f"{option.partition('=')[0]} says how all layers are trained, and --head svm trains none of them" in said


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--threshold=cup=80", "threshold of cup is 80.0: give a number from 0 to 1"),
        ("--threshold=cup=-1", "threshold of cup is -1.0"),
        ("--threshold=cup=nan", "threshold of cup is nan"),
        ("--threshold=cup=inf", "threshold of cup is inf"),
        ("--threshold=cup=0.5,cup=0.6", "'cup' has two numbers"),
        ("--class-weights=cup=nan", "class weight of cup is nan"),
        ("--class-weights=cup=0", "class weight of cup is 0.0"),
        ("--class-weights=cup=1e39", "class weight of cup is 1e+39"),
        ("--class-weights=cup=-2", "class weight of cup is -2.0"),
        ("--max-false-alarms=0", "share of false alarms is 0.0: give a number from 1e-06 to 0.5"),
        ("--max-false-alarms=1", "share of false alarms is 1.0"),
        ("--max-false-alarms=nan", "share of false alarms is nan"),
        ("--outputs=logits,heet", "There is no output 'heet'. The outputs are: logits, features, familiarity, heat."),
        ("--outputs=", "There is no output ''"),
        ("--val-size=10", "A test_size of 0.33 and a val_size of 10.0 cannot be kept"),
        ("--val-size=nan", "val_size of nan"),
        ("--test-size=nan", "test_size of nan"),
        ("--test-size=0", "test_size of 0.0"),
        ("--test-size=1", "less than 1"),
        ("--seed=18446744073709551616", "4294967295"),
        ("--seed=4294967296", "4294967295"),
        ("--seed=-1", "0"),
        ("--svm-c=inf", "1000000"),
        ("--svm-c=nan", "1000000"),
        ("--epochs=99999999999999999999", "100000"),
        ("--learning-rates=1e30", "learning rate is 1e+30"),
        ("--learning-rates=nan", "learning rates 'nan' are not a schedule"),
        ("--learning-rates=0.01*0", "learning rates '0.01*0' are not a schedule"),
        ("--weight-decay=inf", "100"),
        ("--weight-decay=nan", "0"),
        ("--batch-size=99999999999", "65536"),
        ("--image-size=99999999999999999999", "from 64 to 3584"),
        ("--image-size=²x²", "is not a size"),
        ("--base=resnet19", "There is no base 'resnet19'"),
        ("--weights=offline", "offline weights for mobilenet_v2 alone"),
        ("--weights=nowhere.pt", "no weights file 'nowhere.pt'"),
    ],
)
def test_a_setting_of_train_that_cannot_be_meant_is_refused_before_the_photos_are_looked_for(
    option: str, said: str, tmp_path: Path
) -> None:
    assert said in refused("train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), option)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--threshold=mug=0.5", "no label 'mug' that could have a threshold. The labels are: bowl, cup"),
        ("--class-weights=mug=2", "no label 'mug' that could have a class weight. The labels are: bowl, cup"),
    ],
)
def test_a_label_that_is_not_there_is_named_before_a_photo_is_decoded(option: str, said: str, tmp_path: Path) -> None:
    for label in ("bowl", "cup"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "broken.jpg").write_bytes(b"no photo")
    assert said in refused("train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), option)


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("sample", ["OUT", "--seed=18446744073709551616"], "4294967295"),
        ("sample", ["OUT", "--seed=4294967296"], "4294967295"),
        ("sample", ["OUT", "--count=99999999999999"], "100000"),
        ("split", ["PHOTOS", "--seed=18446744073709551616"], "4294967295"),
        ("split", ["PHOTOS", "--val-size=10"], "val_size of 10.0"),
        ("split", ["PHOTOS", "--val-size=nan"], "val_size of nan"),
        ("split", ["PHOTOS", "--test-size=inf"], "test_size of inf"),
        ("augment", ["PHOTOS", "--preview=OUT", "--seed=18446744073709551616"], "4294967295"),
        ("build", ["SPEC", "--out=OUT", "--timeout=inf"], "86400"),
        ("build", ["SPEC", "--out=OUT", "--timeout=nan"], "86400"),
        ("export", ["RUN", "--max-accuracy-loss=nan"], "1"),
        ("evaluate", ["MODEL", "PHOTOS", "--out=OUT", "--fail-under=nan"], "1"),
        ("evaluate", ["MODEL", "PHOTOS", "--out=OUT", "--fail-under=95"], "1"),
        ("threshold", ["MODEL", "--label=cup", "--threshold=nan"], "1"),
        ("threshold", ["MODEL", "--label=cup", "--threshold=80"], "1"),
        ("threshold", ["MODEL", "--label=cup", "--min-precision=nan", "--data=PHOTOS"], "1"),
    ],
)
def test_so_is_one_of_every_other_command(command: str, options: list[str], said: str, tmp_path: Path) -> None:
    words = [option.replace("OUT", str(tmp_path / "out")) for option in options]
    words = [str(tmp_path / word) if word in ("PHOTOS", "MODEL", "RUN", "SPEC") else word for word in words]
    assert said in refused(command, *words)
    assert not (tmp_path / "out").exists()


ONE = Dataset((LabelledImage(Path("cup.jpg"), "cup", "cup.jpg"),), ("bowl", "cup"))


@pytest.mark.parametrize(
    "call",
    [
        lambda seed: Classifier("resnet18", ["bowl", "cup"], 64, "none", seed=seed),
        lambda seed: ONE.split(seed=seed),
        lambda seed: augment(ONE, [v2.Identity()], out="nowhere", seed=seed),
        lambda seed: contact_sheet(ONE, v2.Identity(), seed),
        lambda seed: render("cup", 0, seed),
        lambda seed: write_sample("nowhere", 1, seed),
    ],
)
@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 2**200, 1.5, NAN])
def test_every_function_that_takes_a_seed_says_which_it_can_be(call: Callable[[object], object], seed: object) -> None:
    with pytest.raises(SettingError, match="from 0 to 4294967295"):
        call(seed)


def test_the_largest_seed_is_one() -> None:
    assert SEED.check(2**32 - 1)
    assert render("cup", 0, 2**32 - 1).size
    assert Classifier("resnet18", ["bowl", "cup"], 64, "none", seed=2**32 - 1).labels


@pytest.mark.parametrize(
    "make",
    [
        lambda number: Recipe(Stepwise((0.1,)), batch_size=number),
        lambda number: Recipe(Stepwise((0.1,)), weight_decay=number),
        lambda number: Recipe(Stepwise((0.1,)), momentum=number),
        lambda number: Recipe(Stepwise((0.1,)), label_smoothing=number),
        lambda number: Recipe(Stepwise((0.1,)), backbone_rate=number),
        lambda number: Recipe(Stepwise((0.1,)), frozen_batch_norm=True, average=number),
        lambda number: Cosine(number, 5),
        lambda number: Cosine(0.1, number),
        lambda number: Cosine(0.1, 5, warmup_epochs=number),
        lambda number: Stepwise((0.1, number)),
        lambda number: svm(number),
        lambda number: DownloadLimits(connections=number),
        lambda number: DownloadLimits(per_host=number),
        lambda number: DownloadLimits(timeout_seconds=number),
        lambda number: DownloadLimits(max_bytes=number),
        lambda number: export_precision(
            FloatModel(Path("run"), b"", manifest_for(("bowl", "cup"), pixel_spec(64), b"", [0.0, 0.0]), ONE, ONE, ONE),
            "int8",
            Path("out"),
            max_accuracy_loss=2 * number,
            progress=Silent(),
        ),
    ],
)
@pytest.mark.parametrize("number", [NAN, INFINITY, -1, 1e300])
def test_no_setting_is_a_number_that_cannot_be_meant(make: Callable[[object], object], number: float) -> None:
    with pytest.raises(SettingError):
        make(number)


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(SettingError, match="warm-up"):
        Cosine(0.1, 5, warmup_epochs=5)
    assert Cosine(0.1, 1, warmup_epochs=0).rate(0) == 0.1


def test_an_export_checks_the_thresholds_first() -> None:
    with pytest.raises(TrainingError, match="'mug'"):
        Classifier("resnet18", ["bowl", "cup"], 64, "none").export("nowhere.onnx", ONE, thresholds={"mug": 0.5})
