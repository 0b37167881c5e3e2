"""The bundle in MONAI Label: its stock app for bundles, with checks of what is uploaded and two strategies more.

MONAI Label lives in an environment of its own (``make label``): nothing else in this repository imports this package.
"""
