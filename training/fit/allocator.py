"""One setting of the C library that makes training on a CPU several times faster."""

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1


def keep_large_blocks() -> bool:
    """Ask glibc to keep freed memory for the process; False where the C library is another one.

    By default it returns every block above 128 KiB to the kernel, so each activation of each minibatch is mapped and
    zeroed page by page again. Measured on 2 cores, MobileNetV2 at 224 px, channels-last, batch 32: 15 images/s
    without, 40 with. The price is that the process holds its peak memory until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
