"""Correct the cells that a server of seamless-unet proposes, in napari.

It talks REST alone and imports nothing of the bundle: it lives in napari's environment, the server in its own.
"""
