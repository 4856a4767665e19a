"""A server of weather stations for the example: Cairo and Oslo are down, and Quito is closed."""

import http.server
import json

CELSIUS = {"Bergen": 7.5, "Cairo": 31.0, "Lima": 19.0, "Oslo": 3.0, "Perth": 24.5}
down = {"Cairo", "Oslo"}


class Stations(http.server.BaseHTTPRequestHandler):
    """Answers `/{station}` with its temperature, 404 for a closed one and 503 for one that is down."""

    def do_GET(self) -> None:
        """Answer one request."""
        station = self.path.removeprefix("/")
        self.send_response(503 if station in down else 200 if station in CELSIUS else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"celsius": CELSIUS.get(station)}).encode())


if __name__ == "__main__":
    print("Listening on http://127.0.0.1:8765; Ctrl-C ends it.")
    http.server.ThreadingHTTPServer(("127.0.0.1", 8765), Stations).serve_forever()
