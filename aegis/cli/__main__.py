"""`python -m aegis.cli`, the same as `aegis`."""

from aegis.cli import main

main()
