"""`python -m dev`: the demo. What it needs is installed by `dev.setup` before."""

from dev.demo import main

main()
