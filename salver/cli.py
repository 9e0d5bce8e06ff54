"""The `salver` command: it lists the sub-commands and imports a room only when one of its commands is called."""

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple, NoReturn

from salver.rooms import Unavailable, load, missing

if TYPE_CHECKING:
    import typer


class Command(NamedTuple):
    """Where a sub-command's function lies, the extra that it needs, and its line in the list."""

    module: str
    extra: str
    help: str
    function: str = ""
    """Its name in the module, where it is not the command's."""


COMMANDS = {
    "sample": Command("training.cli.export", "train", "Render the tableware sample: bowl, cup, cutlery, plate."),
    "annotate": Command("training.cli.data", "annotate", "Look at photos and label them in the browser."),
    "augment": Command("training.cli.data", "train", "Show what a preset of augmentation makes of photos."),
    "build": Command("training.cli.data", "data", "Gather photos from folders, URLs and text queries."),
    "check": Command("training.cli.data", "data", "Decode every photo: what is broken, double, leaking, uneven."),
    "split": Command("training.cli.data", "data", "Split photos into train, validation and test; keep it in a file."),
    "train": Command(
        "training.cli.train", "train", "Fine-tune a net on a folder of labelled photos; write model.onnx."
    ),
    "evaluate": Command("training.cli.evaluation", "train", "Test a model file on photos; write a report to look at."),
    "search": Command("training.cli.search", "train", "Show the labelled photos that are nearest to a photo."),
    "threshold": Command("training.cli.threshold", "train", "Give a label only to images that score enough."),
    "drift": Command("training.cli.drift", "train", "Say whether a service is sent other images than its model knows."),
    "export": Command("training.cli.export", "train", "Export another precision of a finished run: int8 or fp16."),
    "serve": Command("service.__main__", "serve", "Serve a model file over HTTP."),
    "score": Command("salver.client.cli", "client", "Score images with a running service."),
    "deploy": Command("salver.deployment.cli", "client", "Serve a model: a process, a container, Kubernetes."),
    "list": Command("salver.deployment.cli", "client", "List the deployments.", "list_deployments"),
    "status": Command("salver.deployment.cli", "client", "Say whether a deployment is ready, and where."),
    "scale": Command("salver.deployment.cli", "client", "Fix the number of replicas, or autoscale."),
    "delete": Command("salver.deployment.cli", "client", "End a deployment."),
    "build-image": Command("salver.deployment.cli", "client", "An image with the model in it.", "build_image"),
    "loadtest": Command("loadtest.cli", "loadtest", "Load a service: its capacity, and the replicas for a rate."),
}


def build(called: str | None) -> "typer.Typer":
    """The command line in which the command `called` is real and the others are lines in the list."""
    import typer  # here, where Ctrl-C is already one line

    def show_version(*, asked: bool) -> None:
        if asked:
            import importlib.metadata

            typer.echo(importlib.metadata.version("salver"))
            raise typer.Exit

    def options(
        *,
        _: Annotated[
            bool,
            typer.Option("--version", help="Show Salver's version and exit.", callback=show_version, is_eager=True),
        ] = False,
    ) -> None:
        """What can stand before a command."""

    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(help="From a folder of labelled photos to an image-scoring service on a cluster.")(options)
    for name, command in COMMANDS.items():
        if name == called:
            module = load(command.module, f"'salver {name}'", command.extra)
            found = getattr(module, command.function or name)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name)
            else:
                app.command(name, epilog=getattr(module, "EPILOGS", {}).get(name))(found)
        else:
            app.command(name, help=command.help)(_nothing)
    return app


def _nothing() -> None:
    """Stands for what is not called."""


def main() -> None:
    """Run the command line; a room whose packages are not installed is named with the line that installs them.

    Ctrl-C is one line and 130 at any time: while a room is imported, and in commands that say nothing of their own.
    """
    called = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    try:
        build(called)()
    except Unavailable as error:
        sys.exit(str(error))
    except ModuleNotFoundError as error:  # in a command's function
        if called is None:
            raise
        sys.exit(missing(f"'salver {called}'", error.name, COMMANDS[called].extra))
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as ended:
        # Typer turns a Ctrl-C that the command did not catch into an exit without a word.
        if ended.__context__ is not None and isinstance(ended.__context__.__cause__, KeyboardInterrupt):
            _end_interrupted()
        raise


def _end_interrupted() -> NoReturn:
    """At once: where Ctrl-C came amid an `exec`, as of a dataclass, Python would go on to end by the signal."""
    sys.stderr.write("Interrupted.\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + signal.SIGINT)
