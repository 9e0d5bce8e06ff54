"""`python -m training …` is `salver train …`, for launchers that start modules, such as torchrun."""

import typer

from training.cli.train import EPILOGS, train

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=EPILOGS["train"])(train)
    app()
