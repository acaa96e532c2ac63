"""`python -m kerasref VERB`, the same as the command `kerasref VERB`."""

from kerasref.cli.main import main

main()
