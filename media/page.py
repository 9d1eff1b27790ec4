"""The page in the browser: its camera, pictures and videos, with the views of the command line.

    serve(options)  # infer.py --page; until Ctrl-C

What a visitor uploads and gets is in a temporary folder, and is deleted when that page is closed.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import shutil
import socket
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from media.options import Options
from media.run import open_network
from media.session import Session, one_at_a_time
from media.table import COLUMNS
from media.views import VIEWS, parse_color
from runtimes.runtime import Runtime
from utils import UserError, explain

os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")  # read when gradio is imported
try:
    import gradio
except ImportError:
    gradio = None  # `serve` says so

PASSWORD = "PAGE_PASSWORD"  # a variable, as every user of a machine can read the options of its programs
LOCAL = ("127.0.0.1", "localhost", "::1")  # which only this machine reaches
EVERYWHERE = ("0.0.0.0", "::")
ROWS = 1000  # of the table of faces that the page shows; the file has all
LARGEST_UPLOAD = "4gb"
WITHOUT_EFFECT = (  # on the page
    *("source", "output", "table", "virtual_camera", "timing", "skip_existing"),
    *("recursive", "shard", "reconnect", "folder"),
)
QUALITY = 85  # of the JPEGs in which a camera's frames are shown
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"  # what the browser may load


def as_data(image: np.ndarray | None) -> gradio.data_classes.ImageData | None:
    """Return an image, HWC uint8 BGR, as a JPEG that is sent to the browser and not written into a file."""
    if image is None:
        return None
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return gradio.data_classes.ImageData(url=f"data:image/jpeg;base64,{b64encode(jpeg).decode()}")


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """Show on the page whatever goes wrong inside."""
    try:
        yield
    except Exception as error:
        raise gradio.Error(explain(error), print_exception=False) from error


class Page:
    """What happens on the page. Methods with a `request` are called by gradio, in any thread."""

    def __init__(self, options: Options, network: Runtime, folder: Path):
        """folder: for all that visitors upload and get."""
        self.options = options.but(window=False)
        self.network, self.folder = one_at_a_time(network), folder
        self.sessions: dict[str, Session] = {}  # by the page that is open

    def session(self, request: gradio.Request) -> Session:
        if request.session_hash not in self.sessions:
            self.sessions[request.session_hash] = Session(self.folder, self.network)
        return self.sessions[request.session_hash]

    def chosen(self, view: str, threshold: float, smooth: float, color: str) -> Options:
        """Return the options with what was chosen on a page."""
        return self.options.but(view=view, threshold=threshold, smooth=smooth, color=parse_color(color))

    def draw_frame(self, request: gradio.Request, frame: np.ndarray | None, *chosen) -> np.ndarray | None:
        """Return the view of a camera's next frame, HWC uint8 BGR. frame: HWC uint8 RGB."""
        if frame is None:
            return None
        with errors_shown():
            image = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            return self.session(request).draw_frame(image, self.chosen(*chosen))

    def remember(self, request: gradio.Request, uploads: list[str] | None) -> None:
        """Note what was uploaded, so that it will be deleted."""
        self.session(request).uploads.update(map(Path, uploads or ()))

    def do_files(
        self,
        request: gradio.Request,
        uploads: list[str] | None,
        progress: gradio.Progress = gradio and gradio.Progress(track_tqdm=True),  # noqa: B008
        *chosen,
    ) -> tuple[list[str], list[str], list[list[str]], str]:
        """Return the results to see and to download, the table of faces, and what there is to say."""
        with errors_shown():
            if not uploads:
                raise UserError("choose pictures and videos first")
            done = self.session(request).do_files([*map(Path, uploads)], self.chosen(*chosen))
        results = [*map(str, done.results)]
        return results, [*results, str(done.table)], done.rows[:ROWS], "\n".join(done.messages)

    def leave(self, request: gradio.Request) -> None:
        """Delete what belongs to a page that was closed."""
        session = self.sessions.pop(request.session_hash, None)
        if session is not None:
            session.close()
            # Those who upload the same file share one copy of it.
            others = set().union(*(other.uploads for other in self.sessions.values()))
            for path in session.uploads - others:
                shutil.rmtree(path.parent, ignore_errors=True)

    def build(self) -> gradio.Blocks:
        """Return the page as gradio knows it."""
        options = self.options
        width, height = options.camera_size or (640, 480)
        wanted = {"width": width, "height": height, "frameRate": options.camera_rate}
        video = {name: {"ideal": value} for name, value in wanted.items() if value}
        webcam = gradio.WebcamOptions(mirror=options.mirror, constraints={"video": video})
        color = "#{:02x}{:02x}{:02x}".format(*options.color)
        several, common = {"file_count": "multiple"}, {"api_visibility": "private", "concurrency_limit": None}
        with gradio.Blocks(title="Face segmentation", analytics_enabled=False) as blocks:
            gradio.Markdown("# Face segmentation")
            with gradio.Row():
                views = [*dict.fromkeys([options.view, *VIEWS])]
                choices = [
                    gradio.Dropdown(views, value=options.view, label="View", min_width=200),
                    gradio.Slider(0.05, 0.95, options.threshold, step=0.05, label="Threshold", min_width=200),
                    gradio.Slider(0, 0.99, options.smooth, step=0.01, label="Smoothing", min_width=200),
                    gradio.ColorPicker(color, label="Colour", min_width=100),
                ]
            with gradio.Tab("Camera"), gradio.Row():
                camera = gradio.Image(
                    sources="webcam", streaming=True, label="Camera", webcam_options=webcam, buttons=[]
                )
                faces = gradio.Image(label="Faces", buttons=["fullscreen"])
                faces.postprocess = as_data  # in a subclass, gradio would write a .pyi beside this file
            with gradio.Tab("Pictures and videos"):
                files = gradio.File(label="Pictures and videos", **several)
                start = gradio.Button("Start", variant="primary")
                messages = gradio.Textbox(label="Messages", interactive=False)
                results = gradio.Gallery(label="Results", columns=2, buttons=["fullscreen"])
                downloads = gradio.File(label="Download", interactive=False, **several)
                table = gradio.Dataframe(headers=COLUMNS.split(), label="Faces", interactive=False)
            live = {"stream_every": 0.05, "time_limit": None, "show_progress": "hidden"}
            camera.stream(self.draw_frame, [camera, *choices], faces, **live, **common)
            files.upload(self.remember, files, **common)
            start.click(self.do_files, [files, *choices], [results, downloads, table, messages], **common)
            blocks.unload(self.leave)
        return blocks


def serve(options: Options) -> None:
    """Serve the page until Ctrl-C. Raises UserError where it cannot be, or others could reach it freely."""
    usual = Options()
    for name in WITHOUT_EFFECT:
        if getattr(options, name) != getattr(usual, name):
            raise UserError(f"--page takes what is dropped into it: leave out --{name.replace('_', '-')}")
    if gradio is None:
        raise UserError("the page needs gradio: `bash infer.sh --page` installs it")
    host, port = options.page
    password = os.environ.get(PASSWORD, "")
    if not password and (options.share or host not in LOCAL):
        what = f"set a password, as {PASSWORD}=... bash infer.sh --page ..."
        raise UserError(f"others could use this page: {what}")

    def is_right(name: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), password.encode())

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        why = f"{error.strerror}; choose another, as --page 127.0.0.1:7861"
        raise UserError(f"nothing can be served at {host}:{port}: {why}") from None
    with tempfile.TemporaryDirectory(prefix="faceseg-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = Page(options, open_network(options), Path(folder))
        blocks = page.build()
        fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
        _, address, public = blocks.launch(
            server_name=host,
            server_port=port,
            share=options.share,
            auth=is_right if password else None,
            auth_message="Any name, and the password of this page.",
            max_file_size=LARGEST_UPLOAD,
            theme=gradio.themes.Default(**fonts),
            head=f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
        )
        print(f"The page is at {public or address} until Ctrl-C. From another machine, first")
        there = host if host not in EVERYWHERE else "127.0.0.1"
        print(f"ssh -L {port}:{there}:{port} {socket.gethostname()}", flush=True)
        try:
            threading.Event().wait()
        finally:
            for session in [*page.sessions.values()]:
                session.close()  # a thread that is at work when Python ends would abort it
            blocks.close(verbose=False)
