"""A stand-in for a hub of models: as much of its interface as a client needs to make, fill and fetch a repository."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Repositories by name, with their files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, content: Any, code: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"POST {self.path}")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = "private" in (
                asked.get("visibility"),
                "private" if asked.get("private") else "",
            )
            self._answer({"url": f"{self.server.address}/{name}", "id": name})
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = json.loads(body)["files"]
            self._answer(
                {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]}
            )
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    file = entry["value"]
                    self.server.repositories[found[1]][file["path"]] = base64.b64decode(file["content"])
            self._answer(
                {"commitUrl": f"{self.server.address}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
            )
        else:
            self._answer({"error": f"unknown: {self.path}"}, 404)

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.+)?", path):
            files = self.server.repositories.get(found[1])
            if files is None:
                self._answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
                return
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            self._answer({"id": found[1], "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/.+", path):
            files = self.server.repositories[found[1]]
            self._answer(
                [{"type": "file", "path": name, "size": len(content), "oid": "0"} for name, content in files.items()]
            )
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            content = self.server.repositories[found[1]].get(found[2])
            if content is None:
                self._answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
                return
            self._answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)
        else:
            self._answer({"error": f"unknown: {path}"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
