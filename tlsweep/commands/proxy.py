"""``python -m tlsweep proxy``: lets workers of other machines reach a study's database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlsweep import screen
from tlsweep.config.read import read
from tlsweep.errors import Fault, Refusal
from tlsweep.jobs.effect import refuse_others
from tlsweep.jobs.line import parted
from tlsweep.jobs.overrides import compose_config
from tlsweep.study.storage import default_url, serve

HERE = ("localhost", "127.0.0.1", "::1")
PORT = 13000


def run(arguments: Sequence[str], conf: Path) -> None:
    """Stand before the database of ``output_dir`` (or ``sweep.storage``) until Ctrl-C.

    ``host=`` is the address that is listened on, this machine alone by default, ``port=`` its port.
    Raises Refusal for a port that is taken or no number, and for a proxy before a proxy.
    """
    own = {
        key: value
        for key, _, value in (a.partition("=") for a in arguments)
        if key in ("host", "port")
    }
    rest = [a for a in arguments if a.partition("=")[0] not in own]
    refuse_others(parted(rest), "proxy", ("host", "port", "output_dir", "sweep.storage"))
    chosen = read(compose_config(rest, conf))
    host, port = own.get("host", HERE[0]), own.get("port", str(PORT))
    if not port.isdigit() or not 0 < int(port) < 2**16:
        raise Refusal(Fault(f"port={port}", "a port is a number from 1 to 65535", f"port={PORT}"))
    url = chosen.sweep.storage or default_url(Path(chosen.output_dir))
    Path(chosen.output_dir).mkdir(parents=True, exist_ok=True)
    shown = screen.console.print
    if host not in HERE:
        shown(
            f"careful: whoever reaches {host}:{port} can read and change these studies, and nothing"
            " is encrypted on the way: let only machines of a network that you trust reach it"
        )
    shown(f"sweeps and workers take sweep.storage=grpc://{host}:{port}; Ctrl-C ends it")
    serve(url, host, int(port))
