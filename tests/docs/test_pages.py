"""Everything that README and docs tell a reader to type is typed, page by page in a fresh clone:  make test-docs"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision import models

from tests.docs.pages import INDENTED, PAGES, ROOT, Block, all_pages, blocks
from tests.docs.reader import Reader, lay_photos, lay_run, reading

pytestmark = [pytest.mark.torch, pytest.mark.timeout(2000)]

WITH_A_TEST_OF_ITS_OWN = "docs/scoring-api.md"
FROM_NOTHING, FROM_PHOTOS = ("README.md",), ("docs/your-photos.md", "docs/training.md")
NOT_RUN = {
    "make test\n": "it would run itself",
    "pip install --require-hashes -r requirements/serve-gpu.txt": "it would replace onnxruntime here; "
    "`make images-all` installs that lock in a container",
    "kind load docker-image": "it needs a cluster and its nodes' engine",
    "docker compose --profile monitoring": "Grafana's image is a download; tests/deploy checks what it is given",
    "docker compose --profile gpu": "it needs a GPU",
}
NEEDS_AN_ENGINE = ("docker ", "make images", "--target docker")
NEEDS_A_CLUSTER = ("kubectl ", "--target kubernetes")
TAKES_MINUTES = ("make bench", "make loadtest", "loadtest capacity", "--run-time 60")
ALSO_RIGHT = {
    "salver build": (0, 3),  # without network the queries fail, and the page says so
    "--fail-under 0.9": (0, 1),  # a few small photos may miss the limit: what the option is for
    "SALVER_DEVICE=cuda": (0, 1),  # without a GPU: one line that says why
}


def cases() -> Iterator[object]:
    """Each block that is to be run, with the mark that says what it needs."""
    for page in PAGES:
        long = any(minutes in block.text for block in blocks(page) for minutes in TAKES_MINUTES)
        for block in blocks(page):
            if page == WITH_A_TEST_OF_ITS_OWN or block.language == "text" or any(map(block.text.__contains__, NOT_RUN)):
                continue
            marks = [pytest.mark.docs]
            if any(map(block.text.__contains__, NEEDS_AN_ENGINE)):
                marks = [pytest.mark.docker]
            elif any(map(block.text.__contains__, TAKES_MINUTES)):
                marks = [pytest.mark.soak]
            elif long and "salver serve" in block.text:
                marks.append(pytest.mark.soak)
            yield pytest.param(page, block, marks=marks, id=str(block))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch's folder of downloads, with a ResNet-18 as torchvision publishes it, but random."""
    folder = tmp_path_factory.mktemp("torch")
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(models.resnet18(weights=None).state_dict(), folder / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, quickly made."""
    folder = tmp_path_factory.mktemp("run")
    lay_photos(folder, 6)
    words = ["train", "photos", "--base", "mobilenet_v2", "--weights", "offline", "--head", "svm", "--out", "first"]
    subprocess.run([sys.executable, "-m", "salver", *words], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def reader(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, checkpoints: Path
) -> Iterator[Reader]:
    """A reader of the page that the parameter names, in a clone of their own."""
    folder = tmp_path_factory.mktemp("clone")
    with reading(folder, checkpoints) as reader:
        if request.param not in FROM_NOTHING:
            lay_photos(folder, 6)
        if request.param not in FROM_NOTHING + FROM_PHOTOS:
            run = request.getfixturevalue("run")
            shutil.copytree(run / "photos", folder / "photos", dirs_exist_ok=True)
            lay_run(folder, run / "first")
        yield reader


@pytest.mark.parametrize(("reader", "block"), list(cases()), indirect=["reader"], scope="module")
def test_what_the_page_says_works(reader: Reader, block: Block) -> None:
    allowed = next((codes for words, codes in ALSO_RIGHT.items() if words in block.text), (0,))
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "python":
        reader.runs([sys.executable, "-c", block.text])
    elif any(map(block.text.__contains__, NEEDS_A_CLUSTER)):
        reader.types_without_a_cluster(block.text)
    else:
        reader.types(block.text, allowed)


def test_every_page_with_code_is_read() -> None:
    with_code = {page for page in all_pages() if blocks(page)}
    assert with_code == set(PAGES)
    assert {block.language for page in PAGES for block in blocks(page)} == {"bash", "python", "json", "text"}


def test_code_stands_between_fences_only() -> None:
    indented = [page for page in all_pages() if INDENTED.search((ROOT / page).read_text())]
    assert not indented


def test_what_is_not_run_is_still_on_a_page() -> None:
    text = "".join(block.text for page in PAGES for block in blocks(page))
    assert all(map(text.__contains__, [*NOT_RUN, *NEEDS_AN_ENGINE, *NEEDS_A_CLUSTER, *TAKES_MINUTES, *ALSO_RIGHT]))
