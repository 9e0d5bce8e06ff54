"""What can be wrong with an image or a model file.

ArtifactError
├── ImageError                what `salver.artifact.pixels` raises, and nothing else
│   ├── ImageTooLarge         more bytes or header pixels than the limits allow
│   ├── UnsupportedImage      not an image format, or a pixel type, that Salver reads
│   └── CorruptImage          a format it reads, but truncated or damaged
├── DecodingUnavailable       no process to decode in could be started; it passes
└── ModelFileError            the ONNX file or its manifest cannot be used
"""

from salver.errors import SalverError


class ArtifactError(SalverError):
    """The root: its text is one plain sentence that a person can act on."""


class ImageError(ArtifactError):
    """The bytes give no pixels."""


class ImageTooLarge(ImageError):
    """More bytes or header pixels than the limits allow; raised before any pixel is decoded."""


class UnsupportedImage(ImageError):
    """Not an image format, or a pixel type, that Salver reads."""


class CorruptImage(ImageError):
    """A format that Salver reads, but truncated or damaged."""


class DecodingUnavailable(ArtifactError):
    """No process to decode in could be started, for want of memory or descriptors. It is not the image's fault."""


class ModelFileError(ArtifactError):
    """The ONNX file or its manifest cannot be used."""
