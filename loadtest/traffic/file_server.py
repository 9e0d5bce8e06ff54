"""The image files behind the URL items, served by the load generator itself."""

import socket
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from loadtest.errors import LoadTestError
from loadtest.traffic.photos import Photo
from salver.text import reason


class FileServer:
    """An HTTP server of the photos on a free port, until the process ends."""

    def __init__(self, photos: Sequence[Photo], host: str) -> None:
        """`host` is this machine's address, as the service reaches it."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                place = self.path.strip("/")
                if not (place.isdecimal() and int(place) < len(photos)):
                    self.send_error(404)
                    return
                photo = photos[int(place)]
                self.send_response(200)
                self.send_header("Content-Type", photo.media_type)
                self.send_header("Content-Length", str(len(photo.data)))
                self.end_headers()
                self.wfile.write(photo.data)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            server = Server((host, 0), Handler)
        except OSError as error:
            raise LoadTestError(f"--file-host is '{host}', where nothing can listen: {reason(error)}.") from error
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        self.urls = [f"http://{shown}:{server.server_port}/{place}" for place in range(len(photos))]
