"""The one exception that scripts show to the user as a message, without a traceback."""


class UserError(Exception):
    """What is wrong, in which file or field, and what to do about it."""
