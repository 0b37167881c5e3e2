"""Where MONAI Label looks for an app's class; ``label_app.prepare`` puts this file into the app's folder."""

from label_app.app import LabelApp

__all__ = ["LabelApp"]
