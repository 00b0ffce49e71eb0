"""One engine process, as the service uses it: starts, calls and ends the process, and reports how the process ended."""

import asyncio
import contextlib
import itertools
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.engine.contract.messages import MAX_LINE_BYTES, Call, ProtocolError, Reply
from app.engine.process.exits import Exit, ExitCause
from app.engine.process.memory_limits import hard_limit_bytes, oom_kills
from app.engine.process.output import Output
from app.engine.process.process_memory import Memory, memory_of, resident_bytes_of
from app.errors import EngineCallFailed, EngineDied, EngineOutOfMemory, EngineTimedOut

DRAIN_SECONDS = 1.0
"""How many seconds to wait for the last output of an ended process. A child of the process may keep the pipe open for
ever."""
END_SECONDS = 1.0
"""How many seconds a process that is stopped may still run after SIGTERM."""
CLOSED_SECONDS = 5.0
"""How many seconds a process may still run after it has closed its socket by itself. An ending process closes its
socket too, and on a busy machine its end takes a while: killed before, it could not say why it ended."""
MEMORY_CHECK_SECONDS = 0.2
"""The time in seconds between two measurements of a process's memory during a call."""
NO_MEMORY = re.compile(
    r"bad_alloc|OutOfMemory|MemoryError|out of memory|cannot allocate memory|failed to allocate|0x8007000E",
    re.IGNORECASE,
)
"""Matches the messages of Python, .NET, C++ and llama.cpp when an allocation of memory fails."""

TOO_LONG = f"a line of more than {MAX_LINE_BYTES} bytes"


class EngineProcess:
    """One engine process. It is disposable: killing it at any moment loses nothing."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        channel: socket.socket,
        *,
        memory_limit_bytes: int,
        on_line: Callable[[str], None],
        on_gone: Callable[[], None],
    ) -> None:
        assert process.stdout is not None  # noqa: S101 - spawn() asked for a pipe; this is for the type checker
        self.pid = process.pid
        self.exit: Exit | None = None
        self._process = process
        self._channel = channel
        self._output = Output(process.stdout, on_line)
        self._on_gone = [on_gone]
        self._pending: dict[int, asyncio.Future[Reply]] = {}
        self._ids = itertools.count(1)
        self._end_reason: str | None = None
        self._is_fault = True
        self._memory_limit_bytes = memory_limit_bytes
        self._is_out_of_memory = False
        self._over = asyncio.create_task(self._watch())

    @classmethod
    async def spawn(
        cls,
        engine: str,
        *,
        directory: Path,
        environment: dict[str, str],
        on_line: Callable[[str], None],
        on_gone: Callable[[], None],
        memory_limit_bytes: int = 0,
    ) -> "EngineProcess":
        """Start an engine process and return it. The process is not ready until the call `start` has returned.

        `engine` is the import string of the class to serve. `on_line` gets each line that the process prints. `on_gone`
        is called in a thread when the process has ended, before `wait()` and pending calls return. A process that holds
        more than `memory_limit_bytes` during a call is killed; 0 for no limit.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "app.engine.child.worker",
                str(theirs.fileno()),
                str(os.getpid()),
                engine,
                str(hard_limit_bytes(memory_limit_bytes)),
                cwd=directory,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        return cls(process, ours, memory_limit_bytes=memory_limit_bytes, on_line=on_line, on_gone=on_gone)

    async def call(
        self, name: str, params: dict[str, Any] | None = None, *, seconds: float, watches_memory: bool = False
    ) -> Any:  # noqa: ANN401
        """Call a method of the engine in this process, and return the result, a JSON value.

        Raises EngineCallFailed if the engine reports an error, EngineDied if the process ends during the call,
        EngineOutOfMemory if the process needs more memory than its limit, and EngineTimedOut after `seconds`. A native
        call cannot be stopped: if it times out, is cancelled or, with `watches_memory`, holds more than the limit, its
        process is killed.
        """
        if self.exit:
            raise self._death(self.exit)
        call = Call(next(self._ids), name, params or {})
        answer = self._pending[call.id] = asyncio.get_running_loop().create_future()
        memory_watch = asyncio.create_task(self._watch_memory()) if watches_memory else None
        try:
            async with asyncio.timeout(seconds):
                await self._send(call.encode())
                result = await answer
        except TimeoutError:
            self.kill(f"{name!r} did not finish within {seconds:g} s", is_fault=False)
            raise EngineTimedOut(name, seconds) from None
        except asyncio.CancelledError:
            self.kill(f"{name!r} was cancelled", is_fault=False)
            raise
        finally:
            if memory_watch:
                memory_watch.cancel()
            del self._pending[call.id]
        if result.error is not None and NO_MEMORY.search(result.error):
            # The state of .NET and native code is unknown now, and the process still holds the memory that it
            # allocated.
            self._kill_for_memory(f"{name!r} could get no more memory: {result.error:.200}")
            raise self._death(await self.wait())
        if result.error is not None:
            raise EngineCallFailed(result.error)
        return result.result

    @property
    def is_ending(self) -> bool:
        """Whether the process has ended or the service is ending it."""
        return self._end_reason is not None or self.exit is not None

    def when_gone(self, call: Callable[[], None]) -> None:
        """Add a function to be called in a thread when the process has ended, before `wait()` returns."""
        self._on_gone.append(call)

    async def memory(self) -> Memory | None:
        """Return the memory of the process, or None if it has ended."""
        return await asyncio.to_thread(memory_of, self.pid)

    async def wait(self) -> Exit:
        """Wait until the kernel has reaped the process; return how it ended."""
        return await asyncio.shield(self._over)

    async def stop(self, reason: str, *, seconds: float) -> Exit:
        """End the process within `seconds`, by force if needed, and return how it ended.

        The steps are: call `free_resources`, close the socket, send SIGTERM, send SIGKILL. Each step is taken only if
        the process still runs.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        with contextlib.suppress(EngineCallFailed, EngineDied, EngineTimedOut):
            await self.call("free_resources", seconds=seconds / 2)
        self._note_end_reason(reason, is_fault=False)
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        if not await self._gone_by(deadline - END_SECONDS):
            self._signal(signal.SIGTERM)
            if not await self._gone_by(deadline):
                self.kill(reason, is_fault=False)
        return await self.wait()

    def kill(self, reason: str, *, is_fault: bool = True) -> None:
        """Send SIGKILL to the process and return at once.

        If several calls give a reason, the first reason is reported.
        """
        if not self.exit:
            self._note_end_reason(reason, is_fault=is_fault)
            self._signal(signal.SIGKILL)

    async def _watch_memory(self) -> None:
        """Kill the process when it holds more than its limit. Runs until cancelled."""
        while self._memory_limit_bytes:
            await asyncio.sleep(MEMORY_CHECK_SECONDS)
            held_bytes = await asyncio.to_thread(resident_bytes_of, self.pid)
            if held_bytes > self._memory_limit_bytes:
                limit = f"it may hold {self._memory_limit_bytes} (OCR_ENGINE_MEMORY_LIMIT)"
                self._kill_for_memory(f"it held {held_bytes} bytes of memory, and {limit}")

    def _kill_for_memory(self, reason: str) -> None:
        # As with a deadline, the call is at fault, so the end must not count as a death of the engine.
        if self._end_reason is None:
            self._is_out_of_memory = True
        self.kill(reason, is_fault=False)

    def _death(self, ending: Exit) -> EngineDied:
        """Return the error for a call that was pending when the process ended in this way."""
        if ending.is_out_of_memory:
            return EngineOutOfMemory(ending.reason, self._memory_limit_bytes)
        return EngineDied(ending.reason, was_ordered=ending.cause is ExitCause.ORDERED)

    def _note_end_reason(self, reason: str, *, is_fault: bool) -> None:
        if self._end_reason is None:
            self._end_reason, self._is_fault = reason, is_fault

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # the process has ended, and _watch() is about to report that
            self._process.send_signal(number)

    async def _send(self, line: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._channel, line)
        except OSError:
            # The process is ending: _watch() is about to fail this call with the reason.
            return

    async def _watch(self) -> Exit:
        """Read replies and output until the process ends, then fail the pending calls. Only this method sets `exit`."""
        answers = asyncio.create_task(self._read_answers())
        output = asyncio.create_task(self._output.read())
        kills_before = await asyncio.to_thread(oom_kills)
        code = await self._process.wait()
        if code == -signal.SIGKILL and self._end_reason is None:
            self._is_out_of_memory = await asyncio.to_thread(oom_kills) > kills_before
        await asyncio.wait({output}, timeout=DRAIN_SECONDS)
        for task in (answers, output):
            task.cancel()
        await asyncio.gather(answers, output, return_exceptions=True)
        self._channel.close()
        for on_gone in self._on_gone:
            await asyncio.to_thread(on_gone)
        tail = self._output.tail
        if code != 0 and self._end_reason is None:
            self._is_out_of_memory |= any(map(NO_MEMORY.search, tail))
        self.exit = Exit(self.pid, code, self._end_reason, self._is_fault, self._is_out_of_memory, tail)
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(self._death(self.exit))
        return self.exit

    async def _read_answers(self) -> None:
        try:
            await self._dispatch_answers()
        except ProtocolError as exc:
            self.kill(f"it broke the protocol: {exc}")
        else:
            await asyncio.sleep(CLOSED_SECONDS)
            if self._end_reason is None:  # otherwise `stop` has closed the socket, and keeps its own deadline
                self.kill("it closed its socket but did not end")

    async def _dispatch_answers(self) -> None:
        loop, rest = asyncio.get_running_loop(), bytearray()
        with contextlib.suppress(ConnectionError):
            while chunk := await loop.sock_recv(self._channel, 1 << 16):
                first, *more = chunk.split(b"\n")
                rest += first
                for beginning in more:
                    self._resolve(bytes(rest))
                    rest[:] = beginning
                if len(rest) > MAX_LINE_BYTES:
                    raise ProtocolError(TOO_LONG)

    def _resolve(self, line: bytes) -> None:
        """Decode the line of a reply, and give the reply to the pending call that it answers.

        Raises ProtocolError if no pending call has the reply's id, because an engine that floods replies would keep the
        service busy.
        """
        if len(line) > MAX_LINE_BYTES:
            raise ProtocolError(TOO_LONG)
        answer = Reply.decode(line)
        waiting = self._pending.get(answer.id)
        if waiting is None or waiting.done():
            msg = f"a reply to no call: {line[:200]!r}"
            raise ProtocolError(msg)
        waiting.set_result(answer)

    async def _gone_by(self, deadline: float) -> bool:
        remaining = max(0.0, deadline - asyncio.get_running_loop().time())
        done, _ = await asyncio.wait({self._over}, timeout=remaining)
        return bool(done)
