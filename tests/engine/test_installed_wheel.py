"""What is known of the installed wheel: the committed facts are what the wheel says, and other versions are asked."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.engine.contract.wheel_facts import DISTRIBUTION, NotWheelFacts, WheelFacts, known_facts
from app.engine.native.workdir import WorkDirectories
from app.engine.wheel.installed_wheel import InstalledWheel
from app.engine.wheel.wheel_probe import ask_wheel
from tests.support.supervised import NATIVE

pytestmark = pytest.mark.anyio
VERSION = importlib.metadata.version(DISTRIBUTION)
OTHER = "26.99.0"


def facts() -> WheelFacts:
    """Return the committed facts of the installed wheel."""
    known = known_facts(VERSION)
    assert known, "run `python -m app.engine.wheel.wheel_probe` and commit the file"
    return known


@pytest.fixture
def workdirs(tmp_path: Path) -> Iterator[WorkDirectories]:
    (tmp_path / "models").mkdir()
    workdirs = WorkDirectories(tmp_path / "state", tmp_path / "models", NATIVE)
    yield workdirs
    workdirs.close()


def test_the_committed_facts_say_which_ocr_models_are_needed() -> None:
    """Russian needs the first version of a model and mixed Cyrillic the second; English needs none."""
    assert facts().version == VERSION
    assert facts().languages["rus"] == ("aspose-ocr-cyrillic-v1.ocr",)
    assert facts().languages["european"] == ("aspose-ocr-cyrillic-v2.ocr",)
    assert facts().languages["eng"] == ()
    assert {"aspose-ocr-cyrillic-v1.ocr", "aspose-ocr-cyrillic-v2.ocr"} <= facts().ocr_models
    assert facts().language_names["deu"] == "German"
    aliases = facts().language_aliases
    assert [aliases[code] for code in ("de", "ger", "en", "fa", "zh")] == ["deu", "deu", "eng", "pes", "chinese"]
    assert facts().uses_of("aspose-ocr-cyrillic-v2.ocr") == {"languages": ["european"]}
    assert WheelFacts.from_json(facts().to_json()) == facts()


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_committed_facts_are_what_the_wheel_says(workdirs: WorkDirectories) -> None:
    """The installed wheel, asked about each language, area, method and filter, answers what is committed."""
    assert await ask_wheel(workdirs) == facts()


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[" * 100_000,
        "{}",
        facts().to_json().replace('"lean": []', '"lean": 1'),
        facts().to_json().replace('"rus": [', '"rus": [1,'),
        WheelFacts("1", {"eng": (), "rus": ()}, {}, {}, {}, {}, {}, (), (), ()).to_json(),
    ],
)
def test_what_cannot_be_facts_is_refused(wrong: str) -> None:
    """A text that is no facts file, or one in which no language needs a file, raises NotWheelFacts."""
    with pytest.raises(NotWheelFacts):
        WheelFacts.from_json(wrong)


async def test_the_facts_of_a_known_version_are_there_at_once(workdirs: WorkDirectories, tmp_path: Path) -> None:
    """For the installed version no process is started and nothing is written."""
    wheel = InstalledWheel(workdirs, tmp_path, report := Events())
    assert wheel.facts == facts()

    await wheel.run()

    assert not report.events
    assert not list(tmp_path.glob("wheel-*"))


async def test_another_version_is_asked_once_and_the_answer_is_kept(
    workdirs: WorkDirectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The facts of an unknown version are None until the program has answered; the next start reads the answer.

    A fake program answers at once, because the real one takes half a minute of CPU. It is the process that is asked.
    """
    (tmp_path / "wheel_program.py").write_text(f"import sys; sys.stdout.write({as_other()!r})")
    monkeypatch.setattr("app.engine.wheel.wheel_probe.PROGRAM", "wheel_program")
    monkeypatch.setattr(workdirs, "environment", lambda _: {"PYTHONPATH": str(tmp_path)})
    wheel = InstalledWheel(workdirs, tmp_path, report := Events(), OTHER)
    assert wheel.facts is None

    await wheel.run()

    assert wheel.facts is not None
    assert wheel.facts.languages == facts().languages
    assert [name for name, _ in report.events] == ["engine.wheel_asked"]
    assert InstalledWheel(workdirs, tmp_path, report, OTHER).facts == wheel.facts


async def test_a_wheel_that_cannot_be_asked_stays_unknown(
    workdirs: WorkDirectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the program dies, as it does without OpenSSL 1.1, an event has its last words and nothing is kept."""
    (tmp_path / "wheel_program.py").write_text("raise SystemExit('No usable version of libssl was found')")
    monkeypatch.setattr("app.engine.wheel.wheel_probe.PROGRAM", "wheel_program")
    monkeypatch.setattr(workdirs, "environment", lambda _: {"PYTHONPATH": str(tmp_path)})
    wheel = InstalledWheel(workdirs, tmp_path, report := Events(), OTHER)

    await wheel.run()

    assert wheel.facts is None
    assert [name for name, _ in report.events] == ["engine.wheel_unknown"]
    assert "No usable version of libssl" in report.events[0][1]["reason"]
    assert not list(tmp_path.glob("wheel-*"))


def as_other() -> str:
    """Return the facts of the installed wheel as those of another version."""
    return facts().to_json().replace(f'"version": "{VERSION}"', f'"version": "{OTHER}"')


class Events:
    """A callback that keeps the events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        self.events.append((event, fields))
