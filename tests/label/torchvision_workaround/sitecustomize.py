"""On PYTHONPATH where torchvision is built for CUDA and torch is not: its operators then lack what import registers.

MONAI Label imports torchvision and calls none of its operators here, so their registrations are left out. A matching
pair of torch and torchvision needs no such thing.
"""

import sys
import types

for name in ("torchvision._meta_registrations", "torchvision._autograd_registrations"):
    sys.modules[name] = types.ModuleType(name)
