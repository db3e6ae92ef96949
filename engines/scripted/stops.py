"""Stop strings, as vLLM's detokenizer applies them to a stream."""

from collections.abc import Sequence


def hold_back(texts: Sequence[str], stops: Sequence[str], *, include: bool) -> tuple[tuple[str, ...], str | None]:
    """The texts up to the first stop string, and which one it was.

    As long as a stop string may still begin, its length less one is held back from the stream.
    """
    kept = 0 if include else max(map(len, stops)) - 1
    sent: list[str] = []
    said, shown = "", 0
    for text in texts:
        said += text
        if match := _first_completed(said, len(text), stops):
            stop, end = match
            sent.append(said[shown : end if include else end - len(stop)])
            return tuple(sent), stop
        until = max(shown, len(said) - kept)
        sent.append(said[shown:until])
        shown = until
    sent[-1] += said[shown:]
    return tuple(sent), None


def _first_completed(said: str, new: int, stops: Sequence[str]) -> tuple[str, int] | None:
    """The stop string that ends first within the `new` last characters, and where it ends."""
    ends = [
        (place + len(stop), stop)
        for stop in stops
        if new and (place := said.find(stop, max(0, len(said) - new - len(stop) + 1))) != -1
    ]
    return min(((stop, end) for end, stop in ends), key=lambda found: found[1], default=None)
