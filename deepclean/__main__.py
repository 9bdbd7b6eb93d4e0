"""`python -m deepclean`: the command line where no script is installed."""

from deepclean.cli import main

main()
