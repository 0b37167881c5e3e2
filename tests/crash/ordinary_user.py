"""Root without its right to read and write everywhere: permissions count for it as for anybody."""

from __future__ import annotations

import ctypes
import os

_VERSION_3 = 0x20080522
#: Linux capabilities DAC_OVERRIDE, DAC_READ_SEARCH and FOWNER
_EVERYWHERE = 0b1110


def as_an_ordinary_user() -> None:
    """From now on for this thread, and for those that it starts.

    Raises:
        OSError: when the system does not allow it.
    """
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head, sets = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(head, sets) == 0:
        for index in range(3):  # effective, permitted, inheritable; of the capabilities 0 to 31
            sets[index] &= ~_EVERYWHERE
        if libc.capset(head, sets) == 0:
            return
    raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")
