"""Python processes that need not import torch and Lightning anew: children of one process that has imported them.

`run(…)` and `Process(…)` take what stands behind `python` on a command line, and are used as those of `subprocess`.
Each process has a session of its own, so that a signal to all reaches the processes that it starts itself. A start
costs hundredths of a second instead of five seconds. Where the start itself is tested, `subprocess` is what to use;
where a process that has torch must not be divided in two (macOS), it is what is used here too.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

READY = (
    *("dipole.cli.train", "dipole.cli.embed", "dipole.data.multimodal", "dipole.report", "torch._dynamo"),
    *("sklearn.datasets", "sklearn.preprocessing", "sentence_transformers", "pyarrow.parquet"),
)
FORKS = sys.platform == "linux"


class Process:
    """A running `python ARGUMENTS…`, as `subprocess.Popen`; what it writes goes to files, or nowhere."""

    def __init__(
        self,
        *arguments: str | Path,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
    ) -> None:
        self.returncode: int | None = None
        told = {"arguments": [str(each) for each in arguments], "environment": dict(env or os.environ)}
        told["folder"] = str(cwd or Path.cwd())
        with Path(os.devnull).open("w") as nowhere:
            outputs = [stdout or nowhere, stderr or nowhere]
            if FORKS:
                self.pid = server().start(told, [output.fileno() for output in outputs])
                return
            command, options = [sys.executable, *told["arguments"]], {"env": told["environment"], "cwd": told["folder"]}
            self.own = subprocess.Popen(
                command, stdout=outputs[0], stderr=outputs[1], start_new_session=True, **options
            )
            self.pid = self.own.pid

    def poll(self) -> int | None:
        """The exit status, if there is one yet."""
        if self.returncode is None:
            self.returncode = server().status(self.pid) if FORKS else self.own.poll()
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """Wait for the end, at most for some seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(f"process {self.pid} has not ended")
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def signal_all(self, number: int) -> None:
        """Send a signal to the process and to those that it has started."""
        if self.poll() is None:
            os.killpg(self.pid, number)


def run(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `python ARGUMENTS…` to its end."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        code = Process(*arguments, stdout=stdout, stderr=stderr, **options).wait()
        written = [output.seek(0) or output.read() for output in (stdout, stderr)]
    return subprocess.CompletedProcess([str(each) for each in arguments], code, *written)


def start_group(count: int, *arguments: str | Path, env: dict[str, str] | None = None, **options: Any) -> list[Process]:
    """Start the same command as all processes of a group, as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**(env or os.environ), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0"}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [Process(*arguments, env={**shared, **own}, **options) for own in ranks]


def run_group(count: int, *arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the same command as all processes of a group; the code of the first that fails, what all have written."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        group = start_group(count, *arguments, stdout=stdout, stderr=stderr, **options)
        try:
            codes = [process.wait() for process in group]
        finally:
            for process in group:
                process.signal_all(signal.SIGKILL)
        written = [output.seek(0) or output.read() for output in (stdout, stderr)]
    return subprocess.CompletedProcess([str(each) for each in arguments], max(codes, key=abs), *written)


class Server:
    """The process whose children the others are."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ended: dict[int, int] = {}
        self.seconds = 0.0  # of processors, for whoever measures
        command = [sys.executable, __file__, str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        atexit.register(self.close)

    def close(self) -> None:
        self.socket.close()
        self.process.wait()

    def start(self, told: dict[str, Any], outputs: list[int]) -> int:
        with tempfile.TemporaryFile() as file:  # a message of a socket is too small for some environments
            file.write(json.dumps(told).encode())
            file.seek(0)
            socket.send_fds(self.socket, [b"start"], [file.fileno(), *outputs])
        while True:
            message = json.loads(self.socket.recv(1024))
            if "started" in message:
                return int(message["started"])
            self._note(message)

    def status(self, pid: int) -> int | None:
        self.socket.setblocking(False)
        try:
            while pid not in self.ended:
                self._note(json.loads(self.socket.recv(1024)))
        except BlockingIOError:
            return None
        finally:
            self.socket.setblocking(True)
        return self.ended.pop(pid)

    def _note(self, message: dict[str, Any]) -> None:
        self.ended[message["ended"]] = message["code"]
        self.seconds += message["seconds"]


@cache
def server() -> Server:
    """The one of this process of tests."""
    return Server()


def serve(connection: socket.socket) -> None:
    """Divide this process whenever it is asked for, and say which of its children have ended; return in a child."""
    for name in READY:
        importlib.import_module(name)
    importlib.import_module("dipole.methods.registry").methods()
    gc.collect()
    gc.freeze()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing)
    waiting = selectors.DefaultSelector()
    waiting.register(connection, selectors.EVENT_READ)
    waiting.register(reading, selectors.EVENT_READ)
    while True:
        if reading in [key.fileobj for key, _ in waiting.select()]:
            os.read(reading, 1024)
            while (ended := _ended()) is not None:
                connection.send(json.dumps(ended).encode())
            continue
        message, descriptors, *_ = socket.recv_fds(connection, 16, 3)
        if not message:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            waiting.close()
            for descriptor in (reading, writing):
                os.close(descriptor)
            os.setsid()
            connection.send(json.dumps({"started": os.getpid()}).encode())
            connection.close()
            become(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _ended() -> dict[str, Any] | None:
    try:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    if pid == 0:
        return None
    return {"ended": pid, "code": os.waitstatus_to_exitcode(status), "seconds": usage.ru_utime + usage.ru_stime}


def become(file: int, stdout: int, stderr: int) -> NoReturn:
    """Be `python ARGUMENTS…`, to its exit code."""
    with os.fdopen(file) as text:
        told = json.load(text)
    for output, number in ((stdout, 1), (stderr, 2)):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["folder"])
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    first, *rest = told["arguments"]
    try:
        if first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
