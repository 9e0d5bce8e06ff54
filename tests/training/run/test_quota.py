"""In a container training takes the cores of its quota, not those of the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.support.photos import photo_folder

pytestmark = pytest.mark.torch

COUNTED = """
import sys, threading
from pathlib import Path
import torch
from training.dataset.dataset import Dataset
from training.fit.device import make_accelerator
from training.export.gate import open_session
from training.fit.minibatches import Minibatches
from training.dataset.inspection.files import inspect_files
from training.evaluation.model_file import ModelFile
from training.nets.nets import pixel_spec
from training.progress import Silent

class Counted(Silent):
    most = 0
    def advance(self, count):
        workers = [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
        self.most = max(self.most, len(workers))

def counted(work):
    progress = Counted()
    work(progress)
    return progress.most

data, model = Dataset.from_dir(sys.argv[1]), ModelFile.read(Path(sys.argv[2]))
inspected = counted(lambda progress: inspect_files([image.path for image in data.images], progress))
decoded = counted(lambda progress: Minibatches(data, data.labels, pixel_spec(64), progress))
scored = counted(lambda progress: model.score(data, progress))
make_accelerator("cpu")
options = open_session(model.path.read_bytes()).get_session_options()
print(inspected, decoded, scored, torch.get_num_threads(), options.intra_op_num_threads)
"""


@pytest.mark.slow
def test_every_pool_of_training_has_as_many_threads_as_the_quota_has_cores(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "cgroup" / "cpu.max").write_text("100000 100000\n")
    photo_folder(tmp_path / "photos", {"cup": 40, "bowl": 40})
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    inside += [f'mount --bind {tmp_path / "cgroup"} /sys/fs/cgroup && exec "$@"', "sh"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    counted = subprocess.run(
        [*inside, sys.executable, "-c", COUNTED, tmp_path / "photos", finished_run / "model.onnx"],
        env=environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert counted.returncode == 0, counted.stderr
    assert counted.stdout.split() == ["1"] * 5
