"""`python -m training …` is `salver train …`, for launchers that start modules, such as torchrun."""

import typer

from training.commands import train

if __name__ == "__main__":
    typer.run(train)
