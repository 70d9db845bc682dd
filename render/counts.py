"""How many things an int32 tells apart: known from the shapes, so that it is checked while tracing."""

MOST = 2**31 - 1


def check_count(count: int, things: str) -> None:
    """Refuse to number more things than an int32 can.

    Args:
      count: how many there are, from shapes alone.
      things: what they are, for the message.

    Raises:
      ValueError: if they are too many.
    """
    if count > MOST:
        raise ValueError(
            f"{count:,} {things} are more than an int32 can number ({MOST:,}): render fewer images "
            "at a time, or smaller ones"
        )
