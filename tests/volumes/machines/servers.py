"""Servers of NFS and CIFS that export one folder on a free port of loopback, with private state."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support.processes import free_port
from tests.support.waiting import eventually

Kind = Literal["nfs", "cifs"]
HOST = "10.0.2.2"
"""The address of the host's loopback in a machine's emulated network."""


@dataclass(frozen=True)
class Mount:
    """The arguments of `mount` in a machine. They set no cache option, so the kernel's defaults apply."""

    type: str
    source: str
    options: str


GANESHA = """
NFS_Core_Param {{
    Bind_addr = 127.0.0.1;
    NFS_Port = {port};
    Protocols = 4;
    Enable_NLM = false;
    Enable_RQUOTA = false;
}}
NFSv4 {{
    RecoveryRoot = {private};
    Graceless = true;
    Only_Numeric_Owners = true;
}}
EXPORT {{
    Export_Id = 1;
    Path = {folder};
    Pseudo = /models;
    Protocols = 4;
    Transports = TCP;
    Access_Type = RW;
    Squash = None;
    SecType = sys;
    FSAL {{ Name = VFS; }}
}}
"""
SAMBA = """
[global]
    server role = standalone
    interfaces = 127.0.0.1/8
    bind interfaces only = yes
    smb ports = {port}
    disable netbios = yes
    load printers = no
    disable spoolss = yes
    map to guest = bad user
    private dir = {private}
    lock directory = {private}
    state directory = {private}
    cache directory = {private}
    pid directory = {private}
    ncalrpc dir = {private}/ncalrpc
    log file = {private}/log.smbd
[models]
    path = {folder}
    read only = no
    guest ok = yes
    force user = root
"""


@contextmanager
def serve(kind: Kind, folder: Path, private: Path) -> Iterator[Mount]:
    """Export the folder until the end of the block. The server's own files and its log are in `private`."""
    port = free_port()
    configuration = private / "configuration"
    template = GANESHA if kind == "nfs" else SAMBA
    configuration.write_text(template.format(port=port, folder=folder, private=private))
    if kind == "nfs":
        command = ["/usr/bin/ganesha.nfsd", "-F", "-L", f"{private}/log", "-p", f"{private}/pid"]
        mount = Mount("nfs4", f"{HOST}:/models", f"vers=4.2,addr={HOST},clientaddr=10.0.2.15,port={port}")
    else:
        command = ["/usr/sbin/smbd", "--foreground", "--no-process-group"]
        mount = Mount("cifs", f"//{HOST}/models", f"ip={HOST},port={port},username=guest,password=none")
    option = "-f" if kind == "nfs" else "-s"
    with (private / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, option, configuration], stdout=output, stderr=output, start_new_session=True
        )
    try:
        eventually(lambda: _is_open(process, port, private), within=30)
        yield mount
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # smbd has a process for each machine
        process.wait(timeout=30)


def _is_open(process: subprocess.Popen[bytes], port: int, private: Path) -> bool:
    if process.poll() is not None:
        message = f"the server ended with status {process.returncode}; its log is in {private}"
        raise AssertionError(message)
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
