"""`RemoteMonitor`: sends the figures of every epoch to a server."""

import json
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn.callbacks.callback import Callback
from torchkeras_fn.engine.basics.logs import to_number

_SECONDS = 10


class RemoteMonitor(Callback):
    """Posts `epoch`, counted from 0, and the figures of each epoch to `root + path`, over HTTP.

    They are sent as JSON: as the whole body with `send_as_json`, else in the field `field` of a form. A server that does
    not answer within ten seconds, or answers with an error, is a warning; training goes on. Raises `ValueError` for a
    `root` that is no HTTP address.

    >>> RemoteMonitor("http://localhost:9000").body(0, {"loss": 0.5})
    b'data=%7B%22epoch%22%3A+0%2C+%22loss%22%3A+0.5%7D'
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ):
        if urllib.parse.urlsplit(root).scheme not in ("http", "https"):
            raise ValueError(f"'root' must begin with http:// or https://, got {root!r}.")
        self.root = root
        self.path = path
        self.field = field
        self.headers = headers
        self.send_as_json = send_as_json

    def body(self, epoch: int, logs: Any = None) -> bytes:
        """Return what is sent at the end of an epoch."""
        figures = {"epoch": epoch, **{name: _plain(figure) for name, figure in (logs or {}).items()}}
        text = json.dumps(figures)
        return (text if self.send_as_json else urllib.parse.urlencode({self.field: text})).encode()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Send the figures."""
        if not self._speaks:
            return
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        address = self.root + self.path
        request = urllib.request.Request(address, self.body(epoch, logs), {"Content-Type": kind, **(self.headers or {})}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):
                pass
        except (OSError, urllib.error.URLError) as error:
            warnings.warn(f"Could not reach RemoteMonitor root server at {self.root}: {error}", UserWarning, stacklevel=2)


def _plain(figure: Any) -> Any:
    if isinstance(figure, (np.ndarray, np.generic)):
        return figure.item() if figure.size == 1 else figure.tolist()
    return to_number(figure) if not isinstance(figure, torch.Tensor) or figure.numel() == 1 else figure.tolist()
