"""The DjVu documents of the corpus: PAGE, encoded by DjVuLibre 3.5.28, because no library for Python encodes DjVu."""

import base64
from functools import partial

from app.errors import ImageTooLarge, UnreadableImage
from tests.corpus.case import Case

BLACK_AND_WHITE = base64.b64decode(
    "QVQmVEZPUk0AAADzREpWVUlORk8AAAAKANsAqBgAlgAWAVNqYnoAAADVgKPXmyJtJYMDaVpdrNHvfwE+i4dUSnGFtqjZwu71GQmbmLpOhDBY"
    "olg0W2Zcl5f4dlU1C0lOHgEU5ROLAnBb+OYjBgX7uDznhHFiTG3fvPMOFGV4RLKHwwAdGUR2AembbcXUVvD9uDy9o8e1J9i/Xx8/h+HVIAPu"
    "R6REZDjdg2swkjGPAbGb/6bQKvCcMUTMoqfckpwnc4DusgW9+PKmKMMtRaJh1xRQjM1eQx6CyimDPBGNe+nw1l669qJ1+J4YOVJV//8nXU/L"
    "Blyi65OfguXrxihf"
)
"""A page of JB2 at 150 dots per inch, made by `cjb2 -dpi 150`."""
TURNED = base64.b64decode(
    "QVQmVEZPUk0AAAEBREpWVUlORk8AAAAKAKgA2xgAlgAWBVNqYnoAAADjgNbZewbzgjLlGZPmZ8fbdycurvmPpRX56UpiKVEXehxjoy771Qo+"
    "1CQC5Hak269lfvxmSNbGJPHEGHG1Rptll0zdECJjKVaXscGIzLTGKJuiTy+APQ1HadwcpkpG/CW8MYplnUDTdpEnj9N6Utge6u52D/wsCAdr"
    "KNFrwU3gUOMskporVB19jB+cwSUMIzscqpw42g7RB/lbhNuB9ESlAeSDQF7SIzJPgF5aJZ+Qr5deFpQZj7ZJjeWmjSTsmeqH2SVJhwm4NJdl"
    "gBF4R92UU0fx9RwvACJeLj9/c10KcZPZR38="
)
"""A page that is stored on its side, and whose header says so."""
BOTH = base64.b64decode(
    "QVQmVEZPUk0AAAMMREpWTURJUk0AAAApgQACAAAAQgAAAT7//+O/ih/swD5mzjGwgooNWj9BuKQl+XGROARp298ARk9STQAAAPNESlZVSU5G"
    "TwAAAAoA2wCoGACWABYBU2piegAAANWAo9ebIm0lgwNpWl2s0e9/AT6Lh1RKcYW2qNnC7vUZCZuYuk6EMFiiWDRbZlyXl/h2VTULSU4eARTl"
    "E4sCcFv45iMGBfu4POeEcWJMbd+88w4UZXhEsofDAB0ZRHYB6ZttxdRW8P24PL2jx7Un2L9fHz+H4dUgA+5HpERkON2DazCSMY8BsZv/ptAq"
    "8JwxRMyip9ySnCdzgO6yBb348qYowy1FomHXFFCMzV5DHoLKKYM8EY176fDWXrr2onX4nhg5UlX//yddT8sGXKLrk5+C5evGKF8ARk9STQAA"
    "AdJESlZVSU5GTwAAAAoAbQBUGABLABYBQkc0NAAAAbQASgECAG0AVIrhuQHR4Mr52ElpD7YYnqfCShvVwLw+J62L9Q/kefjYJDhbgmSQ+JnI"
    "Jpn8tezxm6wel/VWwA3cZtD67f+5YXfIwyA9UutizczreyBSc0Nqf8ojhrXJ4mdMk3zc+qtoCaIH15V3jSD15tLGUn+WWM19CSb3Krxavf0f"
    "Mi+Cx5Fz+IgDFVIzBKO8613XhgoJ5x3Xy0zlBVhiRrDbBe5n88MAMalbQulhNjGVOqW6H/qxoK076Y4MESCtW9WqcRoVKNfAU1kG4a/gcCi+"
    "dUav0zqJ7TAQ/kkc4Zpfqx9KmOm2di2U/Qv9Bvb3MuzdZ3FOdSXYAKc70I3NtGHLJ6HvFc3dp9X5xcsescyz1tlEbK9p/vXjVg+jWOLzVZfa"
    "W3DlkDd+13g9gZN1Y2U+rtoxJ7aABgTGRLlo5hY/ero1Of0vt8wO9Eay96FC5tacUAIGhvyalAChnsrt40zol7ASdpEKRQVEx+fePXxgblL9"
    "v15i4wRo4TXSs/mK+Dp6rx+6D4ASORhgSquO2kI59NMBfm5q4gFVqBMJch2209/QO1isBxjfV4FqmAvbpMVs"
)
"""Two pages, made by `djvm -c`: BLACK_AND_WHITE, and a photo in half the size, made by `c44 -dpi 75 -slice 74`."""
INDIRECT = base64.b64decode("QVQmVEZPUk0AAAAtREpWTURJUk0AAAAhAQAC///jv4of7MA+Zs4xsIKKDVo/QbikJflxkTgEadvf")
"""The index of a document whose pages are in other files, made by `djvmcvt -i`."""
HUGE = base64.b64decode("QVQmVEZPUk0AAAAkREpWVUlORk8AAAAKTiBOIBgALAEWAVNqYnoAAAAGgAHHe/9n")
"""A white page of 20,000 x 20,000 pixels in 48 bytes, made by `cjb2`."""
DISGUISED = base64.b64decode("QVQmVEZPUk0AAAAkREpWVUlORk8AAAAKAGQAZBgALAEWAVNqYnoAAAAGgAHHe/9n")
"""HUGE with 100 x 100 pixels in its header; the picture itself states its true size."""


def taken(data: bytes) -> bytes:
    """Return the data."""
    return data


DJVU_CASES = [
    Case("djvu", partial(taken, BLACK_AND_WHITE)),
    Case("djvu turned", partial(taken, TURNED)),
    Case("djvu with two pages", partial(taken, BOTH), page_count=2),
    Case("djvu cut short", partial(taken, BLACK_AND_WHITE[:200]), error=UnreadableImage),
    Case("djvu of which only the header is there", partial(taken, BLACK_AND_WHITE[:12]), error=UnreadableImage),
    Case("djvu with pages in other files", partial(taken, INDIRECT), error=UnreadableImage),
    Case("huge djvu", partial(taken, HUGE), error=ImageTooLarge),
    Case("huge djvu in disguise", partial(taken, DISGUISED), error=UnreadableImage),
]
