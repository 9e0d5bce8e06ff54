"""`python -m salver`: the command, for machines whose PATH does not have it."""

from salver.cli import main

if __name__ == "__main__":
    main()
