"""The tree of errors in the docstring of `app.errors` matches the classes."""

import re

from app import errors

ROW = re.compile(r"^([│ ├└─]*)(\w+)(?:  +(\S.*))?$", re.MULTILINE)


def documented_parents() -> dict[str, str]:
    """Return each class of the tree in the docstring, with its parent there."""
    drawing = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[2]
    parents: dict[str, str] = {}
    path: list[str] = []
    for branch, name, about in ROW.findall(drawing):
        depth = len(branch) // 3
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else ""
        assert about or name.endswith("Error")
    return parents


def test_the_documented_tree_matches_the_bases() -> None:
    """The tree in the docstring shows every error class below its base class."""
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    bases = {each.__name__: each.__bases__[0].__name__ for each in classes}

    assert documented_parents() == bases | {"ServiceError": ""}


def test_each_class_is_exported() -> None:
    """`app.errors` exports every class of the tree."""
    assert set(errors.__all__) - {"UNWRITABLE"} == set(documented_parents())


def test_a_question_in_a_reason_ends_the_sentence() -> None:
    """The message for a volume that is not mounted ends with its question mark, any other with a full stop."""
    assert str(errors.StoreUnavailable("it is missing; is its volume mounted?")).endswith("mounted?")
    assert str(errors.StoreUnavailable("it is a file")).endswith("a file.")
