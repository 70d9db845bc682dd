"""The hands of a photo in the browser: dropped, pasted or taken by the camera, on this machine alone."""

from __future__ import annotations

import html
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amvur_jax.errors import UserError
from amvur_jax.hands.focal import parse_focal
from amvur_jax.hands.page import PAGE
from amvur_jax.predict import MESHES, predict

if TYPE_CHECKING:
    from amvur_jax.hands.reconstruct import Reconstructor

LARGEST = "64mb"  # photo
_ABOUT = """# The hands of a photo in 3D
Drop a photo, paste one, or take one with the camera. It stays on the machine that this runs on. The first
photo takes longer."""
_STYLE = "#shown iframe { width: 100%; height: 86vh; border: 0; border-radius: 8px; }"


def gradio() -> Any:
    """The library of the extra `app`, told to report to nobody.

    Raises:
      UserError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise UserError(f"the app needs gradio ({error}): pip install 'amvur-jax[app]'") from error
    return gradio


def answer(
    reconstructor: Reconstructor, photo: str | None, focal: str, folder: Path
) -> tuple[str, list[str]]:
    """The hands of one photo, as `predict --html` has them.

    Args:
      reconstructor: of photographs.
      photo: path, or None where there is none yet.
      focal: a word of `parse_focal`, or empty: the photo's own, else assumed.
      folder: for the results; each answer has its own folder in it.
    Returns:
      an HTML element that shows the page, and the paths of all files.
    Raises:
      UserError: there is no photo, it cannot be read or shows no hand, or the focal length is none.
    """
    if not photo:
        raise UserError("there is no photo yet: drop one, or take one with the camera")
    given = parse_focal(focal) if focal.strip() else None
    output = Path(tempfile.mkdtemp(dir=folder))
    path = Path(photo)
    summary = predict(reconstructor, [path], output, focal=given, kinds=MESHES, html=True)
    if summary.bad:
        raise UserError(summary.bad[path].replace(photo, path.name))
    if summary.empty:
        raise UserError(f"{path.name}: no hand was found; look for small hands too")
    page = html.escape((output / PAGE).read_text("utf-8"))
    element = (
        f'<iframe title="Hands" sandbox="allow-scripts allow-downloads" srcdoc="{page}"></iframe>'
    )
    return element, [str(output / PAGE), *map(str, summary.files)]


def build(normal: Reconstructor, thorough: Reconstructor, folder: Path) -> Any:
    """The app, gradio.Blocks, not started.

    Args:
      normal, thorough: reconstructors, the second one for small hands too.
      folder: for results.
    """
    gr = gradio()

    def show(photo: str | None, focal: str, small: bool) -> tuple[str, list[str]]:
        try:
            return answer(thorough if small else normal, photo, focal, folder)
        except UserError as error:
            return f'<p role="alert"><b>{html.escape(str(error))}</b></p>', []

    with gr.Blocks(title="Hands", analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown(_ABOUT)
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                photo = gr.Image(
                    label="Photo",
                    type="filepath",
                    sources=["upload", "webcam", "clipboard"],
                    # the mirror image of a right hand is a left one
                    webcam_options=gr.WebcamOptions(mirror=False),
                    height=300,
                    elem_id="photo",
                )
                # The file as it came: with its EXIF, and with our words where it cannot be read.
                photo.preprocess = lambda payload: payload and payload.path
                focal = gr.Textbox(
                    label="Focal length",
                    placeholder="1500 (px) or 26mm; empty: the photo's own",
                    elem_id="focal",
                )
                small = gr.Checkbox(label="Look for small hands too", elem_id="small")
                start = gr.Button("Find hands", variant="primary", elem_id="start")
                files = gr.Files(label="Files", interactive=False, elem_id="files")
            with gr.Column(scale=3, min_width=320):
                shown = gr.HTML(elem_id="shown")
        start.click(show, [photo, focal, small], [shown, files])
    return blocks


def serve(normal: Reconstructor, thorough: Reconstructor, host: str, port: int) -> None:
    """Run the app until it is interrupted; then photos and results are deleted.

    Args:
      normal, thorough: as of `build`.
      host: address to listen at; 127.0.0.1 is this machine alone.
      port: of it.
    Raises:
      UserError: gradio is not installed, or the address is taken or none of this machine.
    """
    with tempfile.TemporaryDirectory(prefix="amvur-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = (
            folder  # for what is dropped: it is deleted with the results
        )
        blocks = build(normal, thorough, Path(folder))
        try:
            blocks.launch(
                server_name=host,
                server_port=port,
                share=False,
                run_history=False,
                footer_links=[],
                max_file_size=LARGEST,
                ssr_mode=False,
                css=_STYLE,
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise UserError(f"--host={host} --port={port}: {error}; choose another port") from error
        print(f"http://{host}:{port}  (Ctrl-C ends)", flush=True)
        blocks.block_thread()
