"""The entry point of `python -m app`: runs the command line."""

from app.cli.main import main

if __name__ == "__main__":
    main()
