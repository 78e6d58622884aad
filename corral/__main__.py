"""`python -m corral` is `corral`, also where no script was installed on PATH."""

from corral.cli.app import main

if __name__ == "__main__":
    main()
