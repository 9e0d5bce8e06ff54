"""How well recipes and heads do on small sets:  python -m tools.bench.recipes FOLDER … [--ways default,svm]

Each folder is a labelled set. For every seed a leak-aware third is put aside, each way learns the rest, and is asked
about the third with the temperature that it came to by itself. Printed are means over the seeds with their standard
errors: accuracy, negative log-likelihood, calibration error, and by how much the accuracy is above the first way's.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from salver.artifact.scores import probabilities
from salver.messages import show
from training.dataset.dataset import Dataset
from training.evaluation.reliability import expected_calibration_error
from training.fit.recipe.recipe import PRESETS
from training.nets.choice import BASES
from training.run.classifier import Classifier
from training.run.run import VALIDATION_SHARE

HEADS = ("svm", "logistic", "lda")
WAYS = ("default", "quick", "all-layers", *HEADS)


@dataclass(frozen=True)
class Result:
    """Of one way on the test third of one seed."""

    folder: str
    seed: int
    way: str
    accuracy: float
    loss: float
    calibration_error: float
    seconds: float
    cpu_seconds: float
    out_of_fold: float
    """The accuracy that the folds told, NaN without folds."""


def measure(data: Dataset, seed: int, way: str, base: str, weights: str) -> Result:
    """Train and ask once."""
    recipe = PRESETS[way].recipe if way in PRESETS else None
    watched = VALIDATION_SHARE if recipe and not recipe.folds else 0.0
    train, validation, test = data.split_as_given(watched, 0.33, seed=seed)
    began, cpu = time.perf_counter(), time.process_time()
    classifier = Classifier(base, data.labels, weights=weights, seed=seed, device="cpu")
    if way in HEADS:
        classifier.fit_head(train, kind=way, seed=seed)  # type: ignore[arg-type]  # one of HEADS
    else:
        classifier.fit(train, validation if len(validation) else None, recipe=recipe, seed=seed)
    spent = time.perf_counter() - began, time.process_time() - cpu
    answers = classifier.evaluate(test)
    temperature = classifier.temperature(classifier.evaluate(validation) if len(validation) else None).value
    scores = probabilities(answers.logits, temperature)
    truth = scores[np.arange(len(test)), answers.truths]
    judged = classifier.cross_validated
    return Result(
        folder=str(data.root),
        seed=seed,
        way=way,
        accuracy=answers.accuracy,
        loss=float(-np.log(truth).mean()),
        calibration_error=expected_calibration_error(scores.max(axis=1), answers.right),
        seconds=spent[0],
        cpu_seconds=spent[1],
        out_of_fold=judged.accuracy if judged else float("nan"),
    )


def table(results: Sequence[Result]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [
        "| set | way | seeds | accuracy | log-likelihood, negative | calibration error | more than the first way | "
        "out of fold less test | seconds (CPU) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for folder in dict.fromkeys(result.folder for result in results):
        own = [result for result in results if result.folder == folder]
        ways = list(dict.fromkeys(result.way for result in own))
        first = {result.seed: result.accuracy for result in own if result.way == ways[0]}
        for way in ways:
            rows = [result for result in own if result.way == way]
            paired = [100 * (row.accuracy - first[row.seed]) for row in rows if row.seed in first]
            told = [100 * (row.out_of_fold - row.accuracy) for row in rows]
            figures = (
                _mean([row.accuracy for row in rows], 4),
                _mean([row.loss for row in rows], 3),
                _mean([row.calibration_error for row in rows], 3),
                "–" if way == ways[0] else _mean(paired, 1),
                _mean(told, 1),
                f"{np.median([row.seconds for row in rows]):.1f} ({np.median([row.cpu_seconds for row in rows]):.1f})",
            )
            lines.append(f"| {Path(folder).name} | {way} | {len(rows)} | {' | '.join(figures)} |")
    return lines


def _mean(values: Sequence[float], digits: int) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seeds", default="40-59")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--base", choices=BASES, default="mobilenet_v2")
    parser.add_argument("--weights", default="offline")
    parser.add_argument("--results", type=Path, default=Path("recipes.jsonl"), help="kept from run to run")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split("-"))
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    done = [Result(**json.loads(line)) for line in lines]
    known = {(result.folder, result.seed, result.way) for result in done}
    for folder in options.folders:
        data = Dataset.from_dir(folder)
        for way in options.ways.split(","):
            for seed in range(first, last + 1):
                if (str(data.root), seed, way) in known:
                    continue
                done.append(measure(data, seed, way, options.base, options.weights))
                with options.results.open("a") as file:
                    file.write(json.dumps(asdict(done[-1])) + "\n")
    for line in table([result for result in done if first <= result.seed <= last]):
        show(line)


if __name__ == "__main__":
    main()
