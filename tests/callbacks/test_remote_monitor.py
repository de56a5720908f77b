"""`RemoteMonitor`: the figures of each epoch reach a server, which need not be there."""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import RemoteMonitor
from torchkeras_fn.layers import Dense


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that notes what it is sent, and answers with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.received.append((self.path, self.headers, body))
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *args): ...

    monkeypatch.setenv("no_proxy", "*")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.received, server.status = [], 200
        server.root = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_training_sends_its_figures(server):
    x = Input(shape=(1,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse", metrics=["mae"])
    data = np.ones((8, 1), dtype="float32")
    history = model.fit(
        data, data, epochs=2, verbose=0, validation_split=0.5, callbacks=[RemoteMonitor(server.root, send_as_json=True)]
    ).history
    sent = [json.loads(body) for _, _, body in server.received]
    assert sent == [{"epoch": epoch, **{name: figures[epoch] for name, figures in history.items()}} for epoch in range(2)]


@pytest.mark.parametrize(("as_json", "kind"), [(True, "application/json"), (False, "application/x-www-form-urlencoded")])
def test_how_it_is_sent(server, as_json, kind):
    RemoteMonitor(server.root, "/here", "field", {"X-Key": "secret"}, as_json).on_epoch_end(3, {"loss": 0.5})
    ((path, headers, body),) = server.received
    assert (path, headers["Content-Type"], headers["X-Key"]) == ("/here", kind, "secret")
    text = body.decode() if as_json else urllib.parse.parse_qs(body.decode())["field"][0]
    assert json.loads(text) == {"epoch": 3, "loss": 0.5}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.arange(1), 0),
        (np.arange(2), [0, 1]),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([1, 2]), [1, 2]),
        ("a", "a"),
    ],
)
def test_figures_of_any_kind(value, plain):
    assert json.loads(RemoteMonitor(send_as_json=True).body(0, {"value": value})) == {"epoch": 0, "value": plain}


def test_a_server_that_is_not_there_is_a_warning(server):
    monitor = RemoteMonitor(server.root)
    server.shutdown()
    server.socket.close()
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server at http://127.0.0.1"):
        monitor.on_epoch_end(0, {"loss": 0.5})


def test_an_answer_that_is_an_error_is_a_warning(server):
    server.status = 500
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server.*500"):
        RemoteMonitor(server.root).on_epoch_end(0, {"loss": 0.5})


@pytest.mark.parametrize("root", ["localhost:9000", "file:///etc/passwd", "ftp://host", ""])
def test_only_http(root):
    with pytest.raises(ValueError, match="'root' must begin with http:// or https://"):
        RemoteMonitor(root)
