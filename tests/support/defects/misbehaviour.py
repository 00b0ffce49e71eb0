"""Invalid messages, floods and exits of an engine, by name; a number as the name means a randomly damaged message."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterable

from app.engine.contract.messages import MAX_LINE_BYTES


def answer(call_id: object, result: str = '"x"', error: str = "null") -> bytes:
    """Return one line of the protocol. The arguments are JSON already."""
    return f'{{"id":{call_id},"result":{result},"error":{error}}}\n'.encode()


def padded_to(size_bytes: int, call_id: int) -> bytes:
    """Return an answer whose line has exactly this many bytes, without its line end."""
    bare = answer(call_id, '""')
    return answer(call_id, '"' + "x" * (size_bytes + 1 - len(bare)) + '"')


SAYINGS: dict[str, Callable[[int], bytes]] = {
    "a line cut off": lambda call_id: answer(call_id)[:-5],
    "a line without its end": lambda call_id: answer(call_id)[:-1],
    "an empty line": lambda _: b"\n",
    "the answer to another call": lambda call_id: answer(call_id + 1),
    "the answer to an earlier call": lambda call_id: answer(call_id - 1),
    "the answer twice": lambda call_id: 2 * answer(call_id),
    "a number that is no whole one": lambda call_id: answer(f"{call_id}.0"),
    "a truth for a number": lambda _: answer("true"),
    "nothing for a number": lambda _: answer("null"),
    "a number without end": lambda _: answer("9" * 5000),
    "a number beyond any float": lambda _: answer("1e999"),
    "not a number": lambda call_id: answer(call_id, "NaN"),
    "a result deep in lists": lambda call_id: answer(call_id, "[" * 900 + "]" * 900),
    "lists without end": lambda _: b"[" * 500_000 + b"\n",
    "objects without end": lambda _: b'{"id":' * 100_000 + b"\n",
    "half a surrogate pair": lambda call_id: answer(call_id, r'"\ud800"'),
    "an error of half a surrogate pair": lambda call_id: answer(call_id, "null", r'"\uDFFF"'),
    "a surrogate in UTF-8": lambda call_id: answer(call_id, '"#"').replace(b"#", b"\xed\xa0\x80"),
    "no UTF-8": lambda call_id: answer(call_id, '"#"').replace(b"#", b"\xff\xfe\x80"),
    "UTF-16": lambda call_id: answer(call_id).decode().encode("utf-16") + b"\n",
    "zeros": lambda _: bytes(10_000) + b"\n",
    "an error that is a number": lambda call_id: answer(call_id, "null", "7"),
    "neither result nor error": lambda call_id: f'{{"id":{call_id}}}\n'.encode(),
    "a line as long as may be": lambda call_id: padded_to(MAX_LINE_BYTES, call_id),
    "a line a byte too long": lambda call_id: padded_to(MAX_LINE_BYTES + 1, call_id),
    "a line much too long": lambda call_id: padded_to(MAX_LINE_BYTES << 3, call_id),
    "HTTP": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}
"""One invalid or unusual message for a call, by name."""
FLOODS = {
    "answers to nothing without end": lambda call_id: itertools.repeat(answer(call_id + 1) * 1000),
    "a line without end": lambda _: itertools.repeat(b"x" * 65_536),
    "line ends without end": lambda _: itertools.repeat(b"\n" * 65_536),
    "a line byte by byte": lambda _: itertools.repeat(b" ", 300_000),
}
"""Bytes without end, or very many, by name."""
ENDINGS = {
    "a signal without a name": lambda: os.kill(os.getpid(), signal.SIGRTMIN + 6),
    "an exit with 255": lambda: os._exit(255),
    "an exit with success": lambda: os._exit(0),
    "a stop of its own process": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}
"""Ways to end or stop the process, by name."""
CASES = [*SAYINGS, *FLOODS, *ENDINGS]


def by_chance(seed: str, call_id: int) -> bytes:
    """Return a valid answer with random damage, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - to be the same each time
    line = bytearray(answer(call_id, r'{"a":[1,2.5,"x\u00e9",null,true]}'))
    for _ in range(chance.randrange(1, 8)):
        start = chance.randrange(len(line))
        piece = line[start : start + chance.randrange(1, 20)]
        match chance.randrange(5):
            case 0:
                line[start] = chance.randrange(256)
            case 1:
                del line[start : start + len(piece)]
            case 2:
                line[start:start] = piece * chance.randrange(1, 50)
            case 3:
                line[start:start] = chance.randbytes(chance.randrange(1, 9))
            case _:
                line[start:start] = chance.choice([b"\n", b"null", b"[", b'"', b"{}", b"-", b"e9", b"\\u", b"\x00"])
    return bytes(line) or b"\n"


def do(case: str, call_id: int, socket_fd: int) -> None:
    """Do one case of misbehaviour, then stay silent for a minute."""
    if case in ENDINGS:
        ENDINGS[case]()
    said: Iterable[bytes]
    if case in FLOODS:
        said = FLOODS[case](call_id)
    else:
        said = [SAYINGS[case](call_id) if case in SAYINGS else by_chance(case, call_id)]
    for piece in said:
        view = memoryview(piece)
        while view:
            view = view[os.write(socket_fd, view) :]
    time.sleep(60)
