"""The endpoints for a test, not for a client: the posted script and the request log."""

from dataclasses import replace

from engines.scripted.connection import Request
from engines.scripted.directives import parse
from engines.scripted.request_log import RequestLog
from engines.scripted.routing import Reply, Routes
from engines.scripted.script import Script


class Control:
    def __init__(self, keep_requests: int) -> None:
        self.request_log = RequestLog(keep_requests)
        self.routes: Routes = {
            "/script": {"GET": self._get_script, "POST": self._post_script, "DELETE": self._delete_script},
            "/requests": {"GET": lambda _: self.request_log.to_dict(), "DELETE": self._clear_requests},
        }
        self._posted = Script()
        self._line = ""

    def script_for(self, *, generates: bool) -> Script:
        """The posted script if it applies to this request; counts down its `times`."""
        posted = self._posted
        if not generates and posted.on != "all":
            return Script()
        if posted.times is not None:
            left = replace(posted, times=posted.times - 1)
            self._posted = left if left.times else Script()
        return posted

    def _get_script(self, _: Request) -> Reply:
        is_active = self._posted != Script()
        return {"script": self._line if is_active else "", "times": self._posted.times}

    def _post_script(self, request: Request) -> Reply:
        line = request.body.decode(errors="replace")
        self._posted, self._line = parse(line), line
        return self._get_script(request)

    def _delete_script(self, request: Request) -> Reply:
        self._posted = Script()
        return self._get_script(request)

    def _clear_requests(self, _: Request) -> Reply:
        self.request_log.clear()
        return self.request_log.to_dict()
