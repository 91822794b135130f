"""Backbone weights that come with the package, so that the demo does not have to train them.

Files are named by their key, as in a run's folder. `python -m tsme.training.pretrained` trains them
again.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
