"""Backbone weights that come with the package, so that the demo need not train them first.

Files are named by their key, as in a run's folder. `python -m tsme.training.pretrained` makes them again.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
