"""`python -m dev [FOLDER]`: the demo, with its data in FOLDER. `dev.setup` installs its requirements."""

import sys
from pathlib import Path

from dev.demo import main
from dev.stack import ROOT

main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / ".run")
