"""The one error that a bad hand file raises."""


class FileFormatError(ValueError):
    """A file is not what it should be; the message names the file, the field and the remedy."""
