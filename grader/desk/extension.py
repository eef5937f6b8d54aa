"""The Jupyter server extension of the desk: formgrader and nothing else, always with the gradebook's present state."""

from __future__ import annotations

import json
import re
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from nbgrader.api import MissingEntry
from nbgrader.server_extensions.formgrader.apihandlers import GradeHandler
from nbgrader.server_extensions.formgrader.formgrader import load_jupyter_server_extension
from tornado import web

# What else would start a kernel, show or change files, or have nbgrader execute and score notebooks.
OPEN = r"formgrader|static|login|logout|favicon\.ico"
ACTIONS = "assign|unrelease|release|collect|autograde|generate_feedback|release_feedback"


class Closed(web.RequestHandler):
    """Everything that the desk does not need."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


class Start(JupyterHandler):
    """The server's root leads to the manual grading list."""

    @web.authenticated
    def get(self) -> None:
        self.redirect(url_path_join(self.base_url, "formgrader/gradebook"))


class BoundedGradeHandler(GradeHandler):
    """A score lies between 0 and the row's points: nbgrader's own server takes any number."""

    @web.authenticated
    def put(self, grade_id: str) -> Any:
        try:
            asked = json.loads(self.request.body)
            most = self.gradebook.find_grade_by_id(grade_id).max_score
            score, extra = (float(asked.get(name) or 0) for name in ("manual_score", "extra_credit"))
        except MissingEntry as error:
            raise web.HTTPError(404) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise web.HTTPError(400, "a score is a number") from error
        if not 0 <= score <= most or extra != 0:
            raise web.HTTPError(400, f"a score from 0 to {most:g}, and no extra credit")
        return super().put(grade_id)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "grader.desk.extension"}]


def _load_jupyter_server_extension(app: Any) -> None:
    base = re.escape(app.web_app.settings["base_url"])
    app.web_app.add_handlers(
        ".*$",
        [
            (f"{base}formgrader/api/(?:assignment|submission)/.*/(?:{ACTIONS})/?", Closed),
            (f"{base}formgrader/api/(?:assignment|student)/[^/]+/?", Closed),  # would make new ones, or rename them
            (f"{base}formgrader/api/grade/([^/]+)", BoundedGradeHandler),
            (f"{base}(?!(?:{OPEN})(?:/|$)).+", Closed),
            (base, Start),
        ],
    )
    load_jupyter_server_extension(app)
    app.web_app.settings["log_function"] = _after_request


def _after_request(handler: Any) -> None:
    """End formgrader's database session with the request: one that stays open shows old scores after a regrade."""
    book = handler.settings.get("nbgrader_gradebook")
    if book is not None:
        book.db.remove()
