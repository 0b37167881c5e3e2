"""Names, and files that appear whole or not at all; what is in them is shown by the tests of the outputs."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.output.formats import write_image


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"target must end in \.tif, \.nii\.gz or \.mha, got .*a\.jpg"):
        write_image(tmp_path / "a.jpg", np.zeros((2, 2), np.uint8), tmp_path / "b.jpg", {})
