"""Stop strings, as vLLM's detokenizer applies them to a stream."""

from collections.abc import Sequence


def hold_back(texts: Sequence[str], stops: Sequence[str], *, include: bool) -> tuple[tuple[str, ...], str | None]:
    """The texts up to the first stop string, and that stop string.

    Characters that may be the start of a stop string (its length minus one) are held back from the stream.
    """
    held = 0 if include else max(map(len, stops)) - 1
    sent: list[str] = []
    whole, sent_until = "", 0
    for text in texts:
        whole += text
        if match := _first_completed(whole, len(text), stops):
            stop, end = match
            sent.append(whole[sent_until : end if include else end - len(stop)])
            return tuple(sent), stop
        until = max(sent_until, len(whole) - held)
        sent.append(whole[sent_until:until])
        sent_until = until
    sent[-1] += whole[sent_until:]
    return tuple(sent), None


def _first_completed(text: str, new: int, stops: Sequence[str]) -> tuple[str, int] | None:
    """The stop string that ends first within the `new` last characters, and where it ends."""
    ends = [
        (place + len(stop), stop)
        for stop in stops
        if new and (place := text.find(stop, max(0, len(text) - new - len(stop) + 1))) != -1
    ]
    return min(((stop, end) for end, stop in ends), key=lambda found: found[1], default=None)
