"""A trained network on disk: the file of its weights, and its card."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bundle.cells import CellOptions
from bundle.console import true_or_false
from bundle.data.channels import Channels
from bundle.data.classes import Classes
from bundle.data.item import Item
from bundle.model import card as cards
from bundle.model import checkpoints
from bundle.model.architecture import PACKAGE, build, require_fitting, unet_arguments, with_training_classifiers
from bundle.model.image_entry import channels_in
from bundle.model.int8_file import Int8Network, int8_file

logger = logging.getLogger(__name__)

#: seconds between the two steps of replacing card and weights, at most
_PATIENCE = 0.5


class TrainedNetwork:
    """Weights, card, network and cell options of one file, for all who need some of them.

    The file is read and hashed once, when that is first needed, and again when it has changed on the disk: MONAI Label
    replaces the model while its server runs. Nothing of the card is ever executed.

    Args:
        path: a model file or a training checkpoint; it need not be there before something of it is asked for.
        trust_weights: go on without the card where it describes another file, and call images held out where no card
            tells what the network has seen. The command line gives it as text.
    """

    def __init__(self, path: str | os.PathLike[str], trust_weights: bool | str = False) -> None:
        self.path = Path(path)
        self.trust_weights = true_or_false(trust_weights, "trust_weights")
        self._version = ""
        self._sha256 = ""
        self._data: bytes | None = None
        self._weights: Mapping[str, torch.Tensor] | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's, such as "model"; in the folder of a run, the run's for ``best.pt`` and "RUN-last" for last.pt."""
        name, run = self.path.stem, self.path.resolve().parent
        if cards.card_file(self.path).name in cards.OF_RUN or name in ("best", "last"):
            return run.name if name == "best" else f"{run.name}-{name}"
        return name

    @property
    def version(self) -> str:
        """What changes with the file.

        Raises:
            FileNotFoundError: naming the checkpoints beside it.
        """
        checkpoints.require_file(self.path)
        status = self.path.stat()
        return f"{status.st_mtime_ns}-{status.st_size}"

    @property
    def card(self) -> dict[str, Any]:
        """The card; empty without one.

        Raises:
            ValueError: when card or weights are damaged, or the card describes another file, unless that is trusted.
        """
        for patience in (0.0, _PATIENCE):
            time.sleep(patience)
            card = cards.read_card(self.path)
            if not self.path.is_file():
                return card
            self._read()
            if card.get("sha256", self._sha256) == self._sha256:
                return card
        file = cards.card_file(self.path)
        if not self.trust_weights:
            raise ValueError(
                f"{file} describes another file than {self}: put the network and the card of one training there, or "
                "add --trust_weights true to use these weights without a card"
            )
        logger.warning("%s describes another file than %s and is ignored", file, self)
        return {}

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """The network's state dict, on the CPU.

        Raises:
            FileNotFoundError, ValueError: as :func:`bundle.model.checkpoints.read`.
        """
        self._read()
        if self._weights is None:
            self._weights = checkpoints.network_weights(checkpoints.read(self.path, self._data))
            self._data = None
        return self._weights

    @property
    def classes(self) -> Classes:
        """Its classes in the order of its channels; where no card names them, "background", "class 1" and so on.

        A network of two channels without a card that names classes knows but one kind of cell.
        """
        told = cards.classes(self.card)
        if told is not None or not self.path.is_file():
            return told or Classes()
        channels = int(self.definition()[1].get("out_channels", 2))
        if channels <= 2:
            return Classes()
        return Classes(("background", *(f"class {number}" for number in range(1, channels))), "classes")

    @property
    def cells_of(self) -> dict[str, dict[str, Any]]:
        """How cells of single classes are read, by name, where that is not :meth:`cell_options`."""
        return dict(self.card.get("cells_of", {}))

    def _read(self) -> None:
        version = self.version
        if version != self._version:
            data = self.path.read_bytes()
            checkpoints.require_whole(self.path, data)
            self._data, self._weights = data, None
            self._version, self._sha256 = version, hashlib.sha256(data).hexdigest()

    def definition(self, defaults: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any], str]:
        """Name and arguments of the network, and the file that has them; see :meth:`build`."""
        described, source = self.card.get("network"), cards.card_file(self.path)
        if described is not None:
            arguments = {name: value for name, value in described.items() if name != "_target_"}
            require_fitting(described["_target_"], arguments, str(source))
            return described["_target_"], arguments, str(source)
        if defaults is not None and not self.path.is_file():
            return f"{PACKAGE}UNet", dict(defaults), "the defaults"
        found = unet_arguments(self.weights)
        if not found:
            raise ValueError(
                f"checkpoint {self} is not a U-Net's (its tensors begin with {', '.join(list(self.weights)[:3])}), and "
                f"nothing beside it says what it is: put the JSON that its training wrote there, as {source}"
            )
        return f"{PACKAGE}UNet", found, str(self)

    def build(self, defaults: Mapping[str, Any] | None = None, dropout: float | None = None) -> nn.Module:
        """The network with new weights, which those of the file fit.

        The card names it and its arguments (:class:`bundle.training.DescribeRun`). Where there is none, or one of an
        earlier version, it must be a U-Net, whose tensors tell them. Only what :mod:`bundle.networks` exports is ever
        built: the card cannot make anything else run.

        Args:
            defaults: arguments of the :class:`bundle.networks.UNet` that is made where there is no file yet; None makes
                that an error.
            dropout: its probability, for passes that are to differ (MONAI Label sets it); None leaves the network's.

        Raises:
            FileNotFoundError, ValueError: as :func:`bundle.model.checkpoints.read`.
            ValueError: for a network that is not known (naming the nearest), arguments that it does not take, tensors
                that are not a U-Net's with no card beside them, and as
                :func:`bundle.model.checkpoints.require_fitting_weights`.
        """
        target, arguments, source = self.definition(defaults)
        network = build(target, arguments if dropout is None else {**arguments, "dropout": dropout}, source)
        if self.path.is_file():  # MONAI's export takes whatever has a fitting name, and leaves the rest random
            checkpoints.require_fitting_weights(network, self.weights, self.path)
        return network

    def load(self, network: nn.Module | None = None) -> nn.Module:
        """Put the weights into ``network``, or into a new one; after that they are kept there alone.

        Classifiers of ``deep_supervision``, which only training uses, may be in one of the two alone.

        Raises:
            FileNotFoundError, ValueError: as :meth:`build` and :func:`bundle.model.checkpoints.load_weights`.
        """
        network = self.build() if network is None else network
        weights = with_training_classifiers(self.weights, network)
        checkpoints.load_weights(network, weights, self.path)
        self._weights = None
        return network

    def channels(self, select: str | Sequence[int] | None = None) -> Channels:
        """Which images it takes: number and names of their channels, as the training had them.

        Args:
            select: other channels of a file than those of the training, whose names are not checked; None for those.

        Raises:
            ValueError: for another ``select``, and as :meth:`build`.
        """
        card = self.card
        described = card.get("network") is not None or self.path.is_file()
        count = self.definition()[1].get("in_channels") if described else None
        return channels_in(card.get("image", {}), count, select, str(self))

    @property
    def context_slices(self) -> int:
        """Neighbouring slices on each side that it sees, see :mod:`bundle.data.context`; 0 without a card."""
        return int(self.card.get("image", {}).get("context_slices") or 0)

    def origin(self) -> str:
        """Where it comes from, for a person: its experiment, and what it was trained on."""
        return cards.origin(self.card)

    def cell_options(self, **changes: Any) -> CellOptions:
        """How cells are read off its probabilities, see :func:`bundle.model.card.cell_options`."""
        return cards.cell_options(self.card, **changes)

    def require_unseen(self, items: Sequence[Item], part: str) -> list[Item]:
        """``items``, if the network has not seen them; see :func:`bundle.model.card.require_unseen`."""
        return cards.require_unseen(items, part, self.card, self, self.trust_weights)

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """Write the network, its card and its int8 form; what is at ``path`` is replaced, the card right before the
        network.

        Raises:
            OSError: as :func:`bundle.model.checkpoints.write`.
            ValueError: for a damaged file, before anything is replaced.
        """
        int8 = Int8Network.beside(self.path) if int8_file(self.path).is_file() else None
        card = {key: value for key, value in self.card.items() if key != "sha256"}  # that is of this file

        def write_card(file: Path) -> None:
            int8_file(path).unlink(missing_ok=True)  # of the network that was there
            if card:
                cards.write_card(Path(path).with_suffix(".json"), card, of=file)
            else:
                Path(path).with_suffix(".json").unlink(missing_ok=True)

        checkpoints.write(path, self.weights, write_card)
        if int8 is not None:
            int8.write(path)
