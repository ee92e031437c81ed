"""What goes to a screen, a log or a shell, whatever stands in the names: nothing that a terminal would obey."""

import ast
import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aectl import shell, terminal
from aectl.errors import StorageError, brief, one_line, spelled_out

PACKAGE = Path(terminal.__file__).parent


@pytest.mark.parametrize(
    ("text", "said"),
    [("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"), ("a\r\nb\tc", "a\\r\nb\tc"), ("\x9b31m\x7f", r"\x9b31m\x7f"),
     ("\u202egnp.exe", r"\u202egnp.exe"), ("a\u200bb\u2066\ufeff", r"a\u200bb\u2066\ufeff"),
     ("\u3164\u115f\u2800", r"\u3164\u115f\u2800"), ("\U000e0041\U000e0101", r"\U000e0041\U000e0101"),
     (os.fsdecode(b"caf\xe9"), r"caf\udce9"), ("é × 漢字 ☃ σ̂", "é × 漢字 ☃ σ̂")],
)  # fmt: skip
def test_what_is_obeyed_or_not_seen_is_spelled_out(text, said):
    assert spelled_out(text) == said


@given(st.text())
def test_nothing_but_letters_new_lines_and_tabs_is_left(text):
    assert all(letter in "\n\t" or letter.isprintable() for letter in spelled_out(text))
    assert one_line(text).isprintable()
    spelled_out(text).encode()


def test_no_message_has_the_address_of_an_object():
    assert one_line("cannot identify image file <_io.BytesIO object at 0x7f12ab>") == (
        "cannot identify image file the file"
    )
    assert brief(f"no {object()} here") == "no <object> here"


def test_a_log_says_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    terminal.log_plainly()
    handler = terminal.LogFile(str(tmp_path / "log"))
    log = logging.getLogger("somebody's")
    log.addHandler(handler)
    try:
        log.warning("%s\x1b[2J", "\u202ename")
    finally:
        log.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text() == "\\u202ename\\x1b[2J\n"


def test_a_program_that_calls_us_has_plain_lines_too():
    record = logging.LogRecord("", logging.INFO, "", 0, "%s\x1b[2J", ("\u202ename",), None)
    assert terminal.Plain("%(levelname)s %(message)s").format(record) == "INFO \\u202ename\\x1b[2J"


def test_a_process_of_ours_logs_plainly(aectl, monkeypatch):
    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    aectl("--version")
    assert logging.getLogRecordFactory() is terminal.Record


def test_all_that_is_printed_is_plain(capsys):
    terminal.say("\x1b]0;title\x07\nnext:\tline")
    terminal.say("\u202e", sys.stderr)
    assert capsys.readouterr() == ("\\x1b]0;title\\x07\nnext:\tline\n", "\\u202e\n")


def test_nobody_prints_past_that():
    """`print` and a bar's `write` take any letter."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name != "print" or path.name == "terminal.py", path
                assert not name.startswith(("sys.stdout.write", "sys.stderr.write")), path
                plain = node.args and ast.unparse(node.args[0]).startswith(("one_line(", "spelled_out("))
                assert not name.endswith("tqdm.write") or plain, path


def test_every_text_file_has_its_encoding_named():
    """Else it is that of the system, which may know no × and no σ, and on Windows is another one."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "read_text":
                assert any(word.arg == "encoding" for word in node.keywords), path


@pytest.fixture
def full(monkeypatch) -> None:
    """A disk on which logs find no room."""
    disk = Path("/dev/full")
    if not disk.exists():
        pytest.skip("the system has no full disk to offer")
    monkeypatch.setattr(terminal.LogFile, "_open", lambda handler: disk.open("w", encoding="utf-8"))


def test_a_log_that_cannot_be_written_is_named_once_at_its_end(full, tmp_path):
    handler = terminal.LogFile(str(tmp_path / "train.log"))
    handler.handle(logging.LogRecord("", logging.INFO, "", 0, "a line", None, None))
    with pytest.raises(OSError, match=r"train\.log") as refused:
        terminal.finish([logging.NullHandler(), handler])
    assert refused.value.errno == errno.ENOSPC


def test_a_command_whose_log_cannot_be_written_says_so_in_one_line(full, aectl, small_run):
    done = aectl("sample", f"run={small_run}", "mode=prior", "n=1", "hydra.run.dir=out")
    assert done.status == StorageError.exit_code, done.err
    assert done.err.count("\n") == 1
    assert "out/sample.log: No space left on device; free some space" in done.err


WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=4)


@given(WORDS)
def test_a_line_to_paste_is_one_line_and_has_its_words_again(words):
    line = shell.line(*words)
    assert line.isprintable()
    assert shell.split(line) == words


@pytest.mark.parametrize(
    "name", ["a\nb'c", "\x1b[31m\\", "\u202e$'x'", os.fsdecode(b"caf\xe9"), "$", "it's a", "\udce9" * 3]
)
def test_a_shell_takes_it_for_what_it_is(name):
    line = shell.line("printf", "%s", name)
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout == os.fsencode(name)
    assert shell.split(line) == ["printf", "%s", name]
