"""What a test, not a client, says to the engine: the posted script, and a look at the journal."""

from dataclasses import replace

from engines.scripted.connection import Request
from engines.scripted.directives import parse
from engines.scripted.journal import Journal
from engines.scripted.routing import Reply, Routes
from engines.scripted.script import Script


class Control:
    def __init__(self, keep_requests: int) -> None:
        self.journal = Journal(keep_requests)
        self.routes: Routes = {
            "/script": {"GET": self._told, "POST": self._post, "DELETE": self._take_back},
            "/requests": {"GET": lambda _: self.journal.told(), "DELETE": self._forget},
        }
        self._posted = Script()
        self._line = ""

    def script_for(self, *, generates: bool) -> Script:
        """The posted script, as far as it concerns this request; uses up one of its times."""
        posted = self._posted
        if not generates and posted.on != "all":
            return Script()
        if posted.times is not None:
            left = replace(posted, times=posted.times - 1)
            self._posted = left if left.times else Script()
        return posted

    def _told(self, _: Request) -> Reply:
        in_force = self._posted != Script()
        return {"script": self._line if in_force else "", "times": self._posted.times}

    def _post(self, request: Request) -> Reply:
        line = request.body.decode(errors="replace")
        self._posted, self._line = parse(line), line
        return self._told(request)

    def _take_back(self, request: Request) -> Reply:
        self._posted = Script()
        return self._told(request)

    def _forget(self, _: Request) -> Reply:
        self.journal.clear()
        return self.journal.told()
