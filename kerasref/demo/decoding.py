"""Images of strangers, decoded in a process of their own with a limit of time: a slow one holds up nobody else's."""

import multiprocessing
from pathlib import Path

import numpy as np

from kerasref.data.images import COVER, Resizing, image_to_input, read_image
from kerasref.errors import UserError

SECONDS = 10.0  # for one image; 25 megapixels take three


def read_input(
    image: Path | bytes, kind: str, image_shape: tuple[int, int, int], resizing: Resizing = COVER, seconds=SECONDS
) -> np.ndarray:
    """Read an image as what the network sees of it: uint8 [height, width, channels].

    Raises UserError for what is not an image by the rules of `kerasref.data.images`, or is not decoded in `seconds`.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_decode, args=(sender, image, kind, image_shape, resizing), daemon=True)
    process.start()
    sender.close()  # the process holds the only one: when it dies, `recv` raises EOFError
    try:
        answer = receiver.recv() if receiver.poll(seconds) else f"not decoded in {seconds:g} seconds; make it smaller"
    except EOFError:
        answer = "could not be decoded: its process ended"
    finally:
        process.kill()
        process.join()
        receiver.close()
    if isinstance(answer, str):
        raise UserError(answer)
    return answer


def _decode(sender, image, kind, image_shape, resizing) -> None:
    try:
        sender.send(image_to_input(read_image(image), kind, image_shape, resizing=resizing))
    except UserError as error:
        sender.send(str(error))
