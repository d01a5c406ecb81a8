"""The proof of one order: made from any log, checked by a program that knows nothing of ours."""

import ast
import asyncio
import copy
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.storage.checkpoints import CheckpointError, CheckpointFolder, Signer
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.thinning import ANCHORS_FILE
from adapters.storage.vault import SqliteVault
from adapters.storage.witness import follow
from adapters.web.metrics import Metrics
from runners import verify_export
from runners.cli import run
from runners.gateway_line import Line
from runners.gateway_watch import CellWatch
from runners.lock import DataLock
from runners.sealer import SealRefused, seal_and_witness, thin_out
from runners.settings import Settings
from runners.verify_export import PROVED, REFUTED, UNDECIDED, judge, read_json, read_key
from tests.audit_log import key_of, make_log, open_story
from tests.integration.running import orderspine, until
from tests.integration.sealed_order import ORDER, Kept, change, verdict


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    kept = Kept(tmp_path_factory.mktemp("honest"))
    with DataLock(kept.data):
        make_log(kept.data, 20)
    kept.witness.mkdir()
    assert seal_and_witness(kept.sealing(), kept.settings) is not None
    for story in open_story(kept.data):
        story.tell(10, first=100)
    kept.export("proof.json")
    kept.export("revealed.json", "--reveal")
    return kept


@pytest.fixture
def kept(honest: Kept, tmp_path: Path) -> Kept:
    for name in ("data", "data.checkpoints", "witness"):
        shutil.copytree(honest.base / name, tmp_path / name)
    return Kept(tmp_path)


# --- the checker


def test_a_copy_of_the_checker_alone_proves_the_order_in_an_empty_place(honest: Kept, tmp_path: Path) -> None:
    copied = shutil.copy(verify_export.__file__, tmp_path / "check.py")
    words = (sys.executable, "-I", str(copied), str(honest.base / "proof.json"))
    given = ("--checkpoint", str(honest.older), "--key", str(honest.key))
    done = subprocess.run([*words, *given], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == PROVED, done.stdout + done.stderr
    proved, _, unproved = done.stdout.partition("Not proved:")
    assert f"versions 1 to 8 of {key_of(8)}" in proved
    assert "Since your checkpoint" in proved
    assert f"of the log, is the last one of {key_of(8)}" in proved
    assert "further event" not in unproved
    same = orderspine("audit", "check", honest.base / "proof.json", *given)
    assert (same.code, same.out) == (0, done.stdout)


def test_the_checker_imports_the_standard_library_and_cryptography_only() -> None:
    tree = ast.parse(Path(verify_export.__file__).read_text())
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"cryptography"}


def test_nothing_is_proved_by_the_files_own_key(honest: Kept) -> None:
    proof = read_json(honest.base / "proof.json")
    assert verdict(proof, honest, older=False, key=False) == UNDECIDED
    assert verdict(proof, honest, key=False) == PROVED
    assert verdict(proof, honest, older=False) == PROVED


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where each plain value of a document stands."""
    if isinstance(value, dict):
        return [place for name, inner in value.items() for place in places(inner, (*path, name))]
    if isinstance(value, list):
        return [place for at, inner in enumerate(value) for place in places(inner, (*path, at))]
    return [path]


def other(value: Any) -> Any:
    if isinstance(value, str):
        at = len(value) // 2
        return value[:at] + ("0" if value[at : at + 1] != "0" else "1") + value[at + 1 :]
    return value + 1 if isinstance(value, int) else "AAAA"


@pytest.mark.parametrize("file", ["proof.json", "revealed.json"])
def test_any_changed_value_of_the_file_is_refuted(honest: Kept, file: str) -> None:
    proof = read_json(honest.base / file)
    assert verdict(proof, honest) == PROVED
    for *path, last in places(proof):
        if path[:1] == ["keys"]:
            continue  # what is believed is the key from elsewhere
        wrong = copy.deepcopy(proof)
        inner = wrong
        for step in path:
            inner = inner[step]
        if inner[last] is None:
            continue  # `end` and `inclusion` of this file are there
        inner[last] = other(inner[last])
        assert verdict(wrong, honest) != PROVED, (path, last)


Edit = Callable[[dict[str, Any]], object]
EDITS: dict[str, Edit] = {
    "the last event left out": lambda proof: proof["events"].pop(),
    "an event in between left out": lambda proof: proof["events"].pop(3),
    "two events exchanged": lambda proof: proof["events"].insert(2, proof["events"].pop(3)),
    "an event twice": lambda proof: proof["events"].append(proof["events"][-1]),
    "no events": lambda proof: proof["events"].clear(),
    "no checkpoint in between": lambda proof: proof["older"].clear(),
    "no payloads": lambda proof: proof["payloads"].clear(),
    "another order's name": lambda proof: proof.update(stream=key_of(9)),
    "no proof of inclusion": lambda proof: proof["events"][-1].update(inclusion=None),
    "a path too long": lambda proof: proof["events"][-1]["inclusion"].append("00" * 32),
    "no form": lambda proof: proof.update(format="something"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_file_that_leaves_out_or_adds_is_not_believed(honest: Kept, edit: Edit) -> None:
    proof = read_json(honest.base / "proof.json")
    edit(proof)
    assert verdict(proof, honest) in (REFUTED, UNDECIDED)


def test_without_the_proof_of_its_end_a_file_is_said_to_leave_it_out(honest: Kept) -> None:
    proof = read_json(honest.base / "proof.json")
    proof["events"].pop()
    proof["end"] = None
    proof["payloads"] = [each for each in proof["payloads"] if each["version"] <= len(proof["events"])]
    code, _, unproved, _ = judge(proof, [], [read_key(honest.key)])
    assert code == PROVED
    assert any("no further event after version 7: the file leaves its proof out" in text for text in unproved)


def test_another_signers_proof_is_refuted(honest: Kept, tmp_path: Path) -> None:
    other_place = Kept(tmp_path)
    with DataLock(other_place.data):
        make_log(other_place.data, 20)
    proof = read_json(other_place.export("proof.json"))
    assert verdict(proof, honest, older=False) == REFUTED
    assert verdict(proof, honest, key=False) == REFUTED


def test_junk_is_unusable_and_no_crash(honest: Kept, tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"[]", b"{", b'{"format": 1, "format": 2}', b"\xff", b"[" * 50_000)):
        file = tmp_path / f"{number}.json"
        file.write_bytes(content)
        said = orderspine("audit", "check", file, "--key", honest.key)
        assert said.code in (REFUTED, UNDECIDED)
        assert "Traceback" not in said.out + said.err


# --- making it


def test_a_proof_is_not_put_into_a_directory_that_is_not_there(honest: Kept, tmp_path: Path) -> None:
    said = orderspine("audit", "export", ORDER, "--data", honest.data, "--out", tmp_path / "none" / "order.json")
    assert (said.code, f"there is no directory {tmp_path / 'none'}" in said.err) == (2, True)
    said = orderspine("audit", "export", ORDER, "--data", honest.data, "--out", "/proc/order.json")
    assert (said.code, "/proc/order.json cannot be written: No such file" in said.err) == (2, True)


def test_a_proof_reads_the_orders_rows_and_is_revealed_only_when_asked(honest: Kept) -> None:
    said = orderspine("audit", "export", ORDER, "--data", honest.data)
    assert said.code == 0
    assert "read were 8 rows of the log" in said.err
    assert "revealed" not in said.json
    assert "Wang" not in said.out
    revealed = read_json(honest.base / "revealed.json")
    assert "Wang" in json.dumps(revealed["revealed"]["events"])
    assert "10008" in json.dumps(revealed["revealed"]["payloads"])
    assert (honest.base / "revealed.json").stat().st_mode & 0o77 == 0


def test_a_forgotten_order_is_proved_as_well(kept: Kept) -> None:
    with closing(SqliteVault(kept.data / "keys.db")) as vault:
        vault.destroy([key_of(8)])
    proof = read_json(kept.export("proof.json", "--reveal"))
    assert proof["revealed"] is None
    assert verdict(proof, kept) == PROVED


def test_a_changed_order_is_not_proved(kept: Kept) -> None:
    where = f"stream = '{key_of(8)}' AND version = 2"
    change(kept.data, f"UPDATE events SET data = CAST(data || x'20' AS BLOB) WHERE {where}")  # noqa: S608
    said = orderspine("audit", "export", ORDER, "--data", kept.data)
    assert said.code == 1
    assert f"({key_of(8)}, version 2) is not the one that was committed" in said.err


def test_an_auditors_checkpoint_that_is_not_here_is_connected_with_on_request(kept: Kept) -> None:
    middle = next(file for file in kept.checkpoints.glob("*.checkpoint.json") if file.name != kept.older.name)
    held = kept.base / "mine.json"
    shutil.move(middle, held)
    for story in open_story(kept.data):
        story.tell(3, first=500)
    without = read_json(kept.export("a.json"))
    assert judge(without, [read_json(held)], [])[0] == REFUTED
    proof = read_json(kept.export("b.json", "--older", held))
    assert judge(proof, [read_json(held)], [])[0] == PROVED


def test_a_restored_log_is_connected_with_the_checkpoints_of_its_former_life(kept: Kept, tmp_path: Path) -> None:
    backup, keys = tmp_path / "b.tar", tmp_path / "b.keys"
    assert orderspine("backup", backup, "--keys", keys, "--data", kept.data).code == 0
    shutil.rmtree(kept.data)
    assert orderspine("restore", backup, "--keys", keys, "--data", kept.data).code == 0
    for story in open_story(kept.data):
        story.tell(3, first=700)
    proof = read_json(kept.export("proof.json"))
    assert proof["checkpoint"]["generation"] != read_json(kept.older)["generation"]
    assert verdict(proof, kept) == PROVED


# --- sealing


def test_sealing_reads_only_what_is_new(kept: Kept) -> None:
    sealing = kept.sealing()
    assert sealing.seal() is None
    for story in open_story(kept.data):
        before = story.log.tracked().head
        story.tell(4, first=300)
        new = story.log.tracked().head - before
    made = sealing.seal()
    assert made is not None
    assert sealing.rows_read == new
    verified = orderspine("audit", "verify", "--data", kept.data, "--json").json
    assert (verified["ok"], verified["root"], verified["written"]) == (True, made.root, "")


def test_two_that_seal_the_same_log_say_it_once(kept: Kept) -> None:
    one, other_one = kept.sealing(), kept.sealing()
    assert one.seal() is None
    for story in open_story(kept.data):
        story.tell(3, first=300)
    assert other_one.seal() is not None
    before = {file: file.read_bytes() for file in kept.checkpoints.iterdir()}
    one.seal()
    assert {file: file.read_bytes() for file in kept.checkpoints.iterdir()} == before
    for story in open_story(kept.data):
        story.tell(3, first=400)
    assert one.seal() is not None
    assert orderspine("audit", "verify", "--data", kept.data).code == 0


CHANGES = [
    ("DELETE FROM events WHERE position > 40", "events were cut off"),
    ("UPDATE cell SET head = head - 1", "events were cut off"),
    ("UPDATE cell SET generation = 'other'", "nothing signed says"),
]


@pytest.mark.parametrize(("statement", "words"), CHANGES)
def test_a_log_that_does_not_fit_its_last_checkpoint_is_not_signed(kept: Kept, statement: str, words: str) -> None:
    change(kept.data, statement)
    change(kept.data, "UPDATE cell SET head = min(head, (SELECT max(position) FROM events))")
    with pytest.raises(SealRefused, match=words):
        kept.sealing().seal()


def test_a_new_event_that_is_not_the_committed_one_is_not_signed(kept: Kept) -> None:
    for story in open_story(kept.data):
        story.tell(2, first=300)
    last = "position = (SELECT max(position) FROM events)"
    change(kept.data, f"UPDATE events SET data = CAST(data || x'20' AS BLOB) WHERE {last}")  # noqa: S608
    with pytest.raises(SealRefused, match="not the one that was committed"):
        kept.sealing().seal()


def test_lost_or_changed_files_of_the_tree_are_noticed_or_made_anew(kept: Kept) -> None:
    files = [file for ending in ("leaves", "blocks", "names") for file in kept.checkpoints.glob(f"*.{ending}")]
    assert len(files) == 3, "the map of stream ends has tests of its own"
    for file in files:
        file.unlink()
    for story in open_story(kept.data):
        story.tell(2, first=300)
    assert kept.sealing().seal() is not None
    assert verdict(read_json(kept.export("proof.json")), kept) == PROVED
    (leaves,) = kept.checkpoints.glob("*.leaves")
    content = bytearray(leaves.read_bytes())
    content[5] ^= 1
    leaves.write_bytes(content)
    (blocks,) = kept.checkpoints.glob("*.blocks")
    blocks.unlink()
    for story in open_story(kept.data):
        story.tell(2, first=400)
    with pytest.raises(SealRefused, match="the files beside the checkpoints were"):
        kept.sealing().seal()
    said = orderspine("audit", "verify", "--data", kept.data)
    assert "the file was changed" in said.out


@pytest.mark.parametrize("version", ["²", "9" * 5_000])
def test_a_changed_file_of_names_hides_no_change_of_the_log(kept: Kept, version: str) -> None:
    (names,) = kept.checkpoints.glob("*.names")
    lines = names.read_text().splitlines(keepends=True)
    lines[6] = f"{version} {lines[6].partition(' ')[2]}"
    names.write_text("".join(lines))
    change(kept.data, "DELETE FROM events WHERE position = 7")
    found = orderspine("audit", "verify", "--data", kept.data, "--json").json
    assert {"gap", "changed"} <= {problem["kind"] for problem in found["problems"]}


def test_a_proof_is_written_from_a_folder_that_is_there_and_may_be_read_only(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, mistyped = tmp_path / "proof.json", tmp_path / "mistyped"
    words = ["audit", "export", ORDER, "--data", str(kept.data), "--out", str(out), "--checkpoints"]
    assert run([*words, str(mistyped)]) == 2
    assert not mistyped.exists()
    before = {file: file.read_bytes() for file in kept.checkpoints.iterdir() if file.name != "exported.txt"}
    monkeypatch.setattr("os.access", lambda place, _: place != kept.checkpoints)
    assert run([*words, str(kept.checkpoints)]) == 0
    assert {file: file.read_bytes() for file in kept.checkpoints.iterdir() if file.name != "exported.txt"} == before
    assert verdict(read_json(out), kept) == PROVED


def test_cut_orders_are_named_by_what_was_kept_outside(kept: Kept) -> None:
    for file in kept.checkpoints.iterdir():
        file.unlink()
    change(kept.data, "DELETE FROM events WHERE position > 100")
    change(kept.data, "DELETE FROM payloads WHERE stream NOT IN (SELECT stream FROM events)")
    change(kept.data, "UPDATE cell SET head = 100")
    found = orderspine("audit", "verify", "--data", kept.data, "--checkpoints", kept.witness, "--json").json
    missing = {problem["stream"] for problem in found["problems"] if problem["kind"] == "missing"}
    assert {key_of(20), key_of(18)} <= missing


def test_a_witness_is_only_added_to(kept: Kept) -> None:
    for story in open_story(kept.data):
        story.tell(2, first=300)
    seal_and_witness(kept.sealing(), kept.settings)
    names = {file.name for file in kept.checkpoints.glob("*.checkpoint.json")}
    assert {file.name for file in kept.witness.glob("*.checkpoint.json")} == names
    (leaves,) = kept.witness.glob("*.leaves")
    assert leaves.read_bytes() == next(kept.checkpoints.glob("*.leaves")).read_bytes()
    (ours,) = kept.checkpoints.glob("*.leaves")
    ours.write_bytes(ours.read_bytes()[:-64])
    with pytest.raises(CheckpointError, match="was cut"):
        follow(kept.checkpoints, kept.witness)
    shutil.rmtree(kept.witness)
    with pytest.raises(FileNotFoundError, match="make it, or mount"):
        follow(kept.checkpoints, kept.witness)
    assert seal_and_witness(kept.sealing(), kept.settings) is None  # sealing itself goes on


def test_the_process_seals_at_its_start_and_at_its_end(kept: Kept) -> None:
    folder = CheckpointFolder(kept.checkpoints)

    def newest() -> int:
        return max(each.position for each in folder.load("main").checkpoints)

    def head() -> int:
        with closing(SqliteEventLog(kept.data / "log.db", read_only=True)) as log:
            return log.tracked().head

    for story in open_story(kept.data):
        story.tell(2, first=300)
    words = (sys.executable, "-m", "runners.sealer", "--data", str(kept.data), "--witness", str(kept.witness))
    process = subprocess.Popen(words)
    try:
        until(lambda: newest() == head(), 30.0)
        for story in open_story(kept.data):
            story.tell(2, first=400)
        assert newest() < head()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert newest() == head()
    assert len(list(kept.witness.glob("*.checkpoint.json"))) == len(list(kept.checkpoints.glob("*.checkpoint.json")))


def test_a_sealer_that_refuses_is_seen_where_people_look(kept: Kept) -> None:
    def standing() -> tuple[Any, str, str]:
        watch = CellWatch(kept.settings, Line(kept.settings))
        try:
            asyncio.run(watch.look())
            figures = Metrics().render(watch.standing).decode()
        finally:
            watch.close()
        shown = orderspine("status", "--data", kept.data)
        return orderspine("status", "--data", kept.data, "--json").json, shown.out + shown.err, figures

    (kept.data / "sealer.json").unlink(missing_ok=True)
    told, shown, figures = standing()
    assert (told["sealed"], told["seal_refused"]) == (None, "")
    assert "orderspine_sealer_refusing NaN" in figures
    sealing = kept.sealing()
    seal_and_witness(sealing, kept.settings)
    told, shown, figures = standing()
    assert (told["sealed"], told["seal_refused"]) == (told["head"], "")
    assert f"event {told['head']:,}" in shown
    assert "orderspine_sealer_refusing 0.0" in figures
    assert "orderspine_unsealed_events 0.0" in figures
    for story in open_story(kept.data):
        story.tell(2, first=300)
    change(kept.data, "UPDATE events SET tag = 'order.shipped' WHERE position = (SELECT max(position) FROM events)")
    shutil.rmtree(kept.witness)
    seal_and_witness(sealing, kept.settings)
    first = standing()[0]
    seal_and_witness(sealing, kept.settings)
    told, shown, figures = standing()
    assert "not the one that was committed" in told["seal_refused"]
    assert first["seal_refused_since_ms"] == told["seal_refused_since_ms"] > 0
    assert told["sealed"] < told["head"]
    assert "mount what it is on" in told["witness_trouble"]
    assert "refused since" in shown
    assert "`orderspine audit verify` says what was changed" in shown
    assert "orderspine_sealer_refusing 1.0" in figures
    assert f"orderspine_unsealed_events {told['head'] - told['sealed']}.0" in figures
    assert "orderspine_witness_troubled 1.0" in figures
    assert orderspine("audit", "verify", "--data", kept.data).code == 1


DAY_MS = 86_400_000


def age(kept: Kept) -> list[Path]:
    """Seal a log often, and sign it all as if the first six checkpoints were of one day two months ago."""
    folder, signer = CheckpointFolder(kept.checkpoints), Signer.open(kept.data / "checkpoint_key.pem")
    for number in range(8):
        for story in open_story(kept.data):
            story.tell(1, first=300 + number)
        assert kept.sealing().seal() is not None
    checkpoints = folder.load("main").checkpoints
    for file in [*kept.checkpoints.glob("*.checkpoint.json"), kept.checkpoints / ANCHORS_FILE]:
        file.unlink()
    then_ms = (checkpoints[0].at_ms // DAY_MS - 60) * DAY_MS
    old = [msgspec.structs.replace(each, at_ms=then_ms + number) for number, each in enumerate(checkpoints[:6])]
    return [folder.write(each, signer) for each in [*old, *checkpoints[6:]]]


def test_a_thinned_folder_proves_what_it_did_also_to_who_holds_a_dropped_one(kept: Kept) -> None:
    files = age(kept)
    held = kept.base / "mine.json"
    shutil.copy(files[2], held)
    thin_out(Settings(str(kept.data)))
    left = sorted(kept.checkpoints.glob("*.checkpoint.json"))
    assert left == [files[0], *files[5:]], "the first of all, the last of that day, and all of late"
    verified = orderspine("audit", "verify", "--data", kept.data, "--json").json
    assert (verified["ok"], verified["checkpoints"], verified["written"]) == (True, len(left), "")
    proof = read_json(kept.export("proof.json", "--older", held))
    assert judge(proof, [read_json(held)], [read_key(kept.key)])[0] == PROVED
    thin_out(Settings(str(kept.data)))
    assert sorted(kept.checkpoints.glob("*.checkpoint.json")) == left


def test_what_an_export_names_is_not_thinned(kept: Kept) -> None:
    files = age(kept)
    kept.export("proof.json", "--older", files[3])
    thin_out(Settings(str(kept.data)))
    assert sorted(kept.checkpoints.glob("*.checkpoint.json")) == [files[0], files[3], *files[5:]]


def test_what_a_witness_has_is_not_thinned_and_nothing_is_while_it_is_away(kept: Kept) -> None:
    age(kept)
    before = {file.name for file in kept.checkpoints.glob("*.checkpoint.json")}
    shutil.move(kept.witness, kept.base / "away")
    thin_out(kept.settings)
    assert {file.name for file in kept.checkpoints.glob("*.checkpoint.json")} == before
    shutil.move(kept.base / "away", kept.witness)
    shutil.rmtree(kept.witness)
    kept.witness.mkdir()
    follow(kept.checkpoints, kept.witness)
    thin_out(kept.settings)
    assert {file.name for file in kept.checkpoints.glob("*.checkpoint.json")} == before
