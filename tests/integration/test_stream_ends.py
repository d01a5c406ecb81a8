"""That a stream has no further event is proved by the signed map, kept by the sealer, and checked by the audit."""

import copy
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from adapters.storage.checkpoints import Checkpoint, CheckpointFolder, Signer, public_pem
from adapters.storage.kept_ends import KeptEnds
from domain.proof import leaf_hash
from domain.stream_ends import End as StreamEnd
from domain.stream_ends import EndsMap, key_of, leaf_of
from runners import audit
from runners.audited import scan_of
from runners.bootstrap import open_log
from runners.lock import DataLock
from runners.order_proof import NotProvable, prove
from runners.sealer import SealRefused, seal_and_witness
from runners.verify_export import PROVED, REFUTED, UNDECIDED, judge, read_json, read_key
from tests.audit_log import key_of as order_key_of
from tests.audit_log import make_log, open_story
from tests.integration.running import orderspine
from tests.integration.sealed_order import ORDER, Kept, change

FIXTURES = Path(__file__).parents[1] / "fixtures" / "proofs"
OWN = order_key_of(8)
OTHER = "taobao:shop1:10009"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    kept = Kept(tmp_path_factory.mktemp("honest"))
    with DataLock(kept.data):
        make_log(kept.data, 20)
    kept.witness.mkdir()
    assert seal_and_witness(kept.sealing(), kept.settings) is not None
    kept.export("before.json")
    for story in open_story(kept.data):
        story.tell(10, first=100)
        story.take(8, "completed", quantity=3)  # one more event of the order
    kept.export("proof.json")
    said = orderspine("audit", "export", OTHER, "--data", kept.data, "--out", kept.base / "other.json")
    assert said.code == 0
    return kept


@pytest.fixture
def kept(honest: Kept, tmp_path: Path) -> Kept:
    for name in ("data", "data.checkpoints", "witness"):
        shutil.copytree(honest.base / name, tmp_path / name)
    return Kept(tmp_path)


def say(proof: Any, kept: Kept, *held: Any) -> tuple[int, str]:
    """Return the verdict with the key in hand, and everything that is said."""
    code, proved, unproved, reason = judge(proof, list(held), [read_key(kept.key)])
    return code, "\n".join([*proved, "Not proved:", *unproved, reason])


def newest(kept: Kept) -> Checkpoint:
    return CheckpointFolder(kept.checkpoints).load("main").checkpoints[-1]


def the_file(kept: Kept) -> Path:
    return next(kept.checkpoints.glob("*.ends"))


def go_on(kept: Kept, first: int = 300) -> None:
    for story in open_story(kept.data):
        story.tell(3, first=first)


def verified(kept: Kept, *words: str) -> Any:
    return orderspine("audit", "verify", "--data", kept.data, "--json", *words).json


def map_root(data: Path, upto: int, without: int = 0) -> str:
    """Make the map from the log's rows, as somebody who has the log can; `without` leaves out last events of OWN."""
    with closing(sqlite3.connect(data / "log.db")) as db:
        rows = db.execute("SELECT position, stream, version, leaf FROM events ORDER BY position").fetchall()
    last = max(row[2] for row in rows if row[1] == OWN and row[0] <= upto)
    ends = EndsMap()
    for position, stream, version, leaf in rows:
        if position <= upto and not (stream == OWN and version > last - without):
            ends.put([(key_of(stream), leaf_of(key_of(stream), StreamEnd(position, version, leaf)))])
    return ends.root().hex()


def cut(proof: Any, events: int) -> Any:
    """Return a file without its last events, mended as well as can be without the signing key."""
    shorter = copy.deepcopy(proof)
    del shorter["events"][-events:]
    left = {each["version"] for each in shorter["events"]}
    shorter["payloads"] = [each for each in shorter["payloads"] if each["version"] in left]
    return shorter


# --- what the checker says


def test_a_file_is_complete_to_the_checkpoints_position_proven(honest: Kept) -> None:
    for name in ("before.json", "proof.json"):
        proof = read_json(honest.base / name)
        code, said = say(proof, honest)
        assert code == PROVED
        last, size = proof["events"][-1], proof["checkpoint"]["position"]
        proved = said.partition("Not proved:")[0]
        assert (
            f"Complete to position {size}, proven: version {last['version']}, event {last['position']} of the log, "
            f"is the last one of {OWN}" in proved
        )
        made_at = datetime.fromtimestamp(proof["checkpoint"]["at_ms"] / 1000, UTC).isoformat(timespec="seconds")
        assert f"the checkpoint of {made_at} by its maker's clock signs" in proved
    assert len(read_json(honest.base / "before.json")["events"]) < len(proof["events"])
    assert f"complete to position {size:,}, proven" in orderspine("audit", "export", ORDER, "--data", honest.data).err


@pytest.mark.parametrize("events", [1, 2, 5])
def test_last_events_that_were_left_out_are_found(honest: Kept, events: int) -> None:
    proof = read_json(honest.base / "proof.json")
    shorter = cut(proof, events)
    code, said = say(shorter, honest)
    assert code == REFUTED
    assert f"{OWN} ends at version {len(proof['events'])}, and the file shows {len(shorter['events'])}" in said
    last = shorter["events"][-1]
    shorter["end"]["there"] |= {name: last[name] for name in ("position", "version", "leaf")}
    code, said = say(shorter, honest)
    assert code == REFUTED
    assert "does not lead to the root of the map that is signed" in said
    shorter["end"] = {"there": None, "path": proof["end"]["path"]}
    assert say(shorter, honest)[0] == REFUTED
    everything = cut(proof, len(proof["events"]))
    assert say(everything, honest)[0] == REFUTED


def test_a_true_older_end_proves_no_more_than_its_own_position(honest: Kept) -> None:
    """The end of an earlier checkpoint, put under a later one, hides what came in between: it is refuted."""
    before, proof = read_json(honest.base / "before.json"), read_json(honest.base / "proof.json")
    hidden = len(proof["events"]) - len(before["events"])
    assert hidden > 0
    shorter = cut(proof, hidden)
    shorter["end"] = before["end"]
    code, said = say(shorter, honest)
    assert code == REFUTED
    assert "does not lead to the root" in said
    code, said = say(before, honest, read_json(next(iter(sorted(honest.checkpoints.glob("*.checkpoint.json"))[-1:]))))
    assert code == REFUTED, "it is held against the newer checkpoint, which it does not reach"


def test_the_map_proof_of_another_stream_is_named(honest: Kept) -> None:
    proof, other = read_json(honest.base / "proof.json"), read_json(honest.base / "other.json")
    proof["end"] = other["end"]
    code, said = say(proof, honest)
    assert code == REFUTED
    assert f"that of another stream, not of {OWN}" in said


def test_a_swapped_root_is_no_signed_one(honest: Kept) -> None:
    before, proof = read_json(honest.base / "before.json"), read_json(honest.base / "proof.json")
    for ends in (before["checkpoint"]["ends"], ""):
        wrong = copy.deepcopy(proof)
        wrong["checkpoint"]["ends"] = ends
        code, said = say(wrong, honest)
        assert code == REFUTED
        assert "the signature of the checkpoint is wrong" in said


def test_whoever_has_the_log_but_not_the_key_cannot_make_a_map_that_hides_events(honest: Kept, tmp_path: Path) -> None:
    proof = read_json(honest.base / "proof.json")
    size = proof["checkpoint"]["position"]
    assert map_root(honest.data, size) == proof["checkpoint"]["ends"], "the honest root, made from the rows alone"
    liar = Signer.open(tmp_path / "mine.pem")
    false = msgspec.convert(proof["checkpoint"] | {"ends": map_root(honest.data, size, without=2)}, Checkpoint)
    forged = cut(proof, 2)
    for checkpoint, words in (
        (false, "the signature of the checkpoint is wrong"),
        (liar.sign(false), "not by yours"),
        (msgspec.structs.replace(liar.sign(false), key=false.key), "the signature of the checkpoint is wrong"),
    ):
        forged["checkpoint"] = msgspec.to_builtins(checkpoint)
        forged["keys"][liar.fingerprint] = public_pem(liar.public).decode()
        code, said = say(forged, honest)
        assert code == REFUTED
        assert words in said


def test_a_holder_of_the_key_who_signs_a_false_map_is_convicted_by_the_true_one(kept: Kept) -> None:
    true = newest(kept)
    signer = Signer.open(kept.data / "checkpoint_key.pem")
    false = msgspec.structs.replace(true, ends=map_root(kept.data, true.position, without=2))
    proof = read_json(kept.export("proof.json"))
    CheckpointFolder(kept.checkpoints).write(false, signer)
    proof["checkpoint"] = msgspec.to_builtins(signer.sign(false))
    proof["older"] = []
    code, said = say(proof, kept, msgspec.to_builtins(true))
    assert code == REFUTED
    assert f"two maps of stream ends are signed for position {true.position}" in said
    found = verified(kept)
    assert [(each["kind"], each["position"]) for each in found["problems"]] == [("map", true.position)]
    assert "had the key and left something out" in found["problems"][0]["text"]


def test_that_there_is_no_such_order_is_proved(honest: Kept, tmp_path: Path) -> None:
    file = tmp_path / "absent.json"
    said = orderspine("audit", "export", "taobao:shop1:4711", "--absent", "--data", honest.data, "--out", file)
    assert said.code == 0
    proof = read_json(file)
    code, text = say(proof, honest)
    assert code == PROVED
    assert "proven: there is no event of order-taobao:shop1:4711" in text.partition("Not proved:")[0]
    present = read_json(honest.base / "proof.json")
    hiding = cut(present, len(present["events"]))
    hiding["end"] = proof["end"]
    assert say(hiding, honest)[0] == REFUTED
    proof["stream"] = OWN
    assert say(proof, honest)[0] == REFUTED
    there = orderspine("audit", "export", ORDER, "--absent", "--data", honest.data)
    assert (there.code, "is there: leave --absent out" in there.err) == (1, True)
    vague = orderspine("audit", "export", "4711", "--absent", "--data", honest.data)
    assert (vague.code, "may be of any shop" in vague.err) == (1, True)


# --- files and checkpoints of the first form


def test_a_file_of_the_first_form_is_still_proved_and_its_end_is_the_signers_word() -> None:
    proof, older = read_json(FIXTURES / "first-form.json"), read_json(FIXTURES / "first-form.checkpoint.json")
    trusted = [read_key(FIXTURES / "first-form.public.pem")]
    code, proved, unproved, _ = judge(proof, [older], trusted)
    assert code == PROVED
    assert any(text.startswith("The signer's word: ") for text in proved)
    assert not any("proven" in text for text in proved)
    assert any("cannot be seen from a file of this older form" in text for text in unproved)
    shorter = cut(proof, 1)
    assert judge(shorter, [older], trusted)[0] == REFUTED
    shorter["end"] = None
    code, proved, unproved, _ = judge(shorter, [older], trusted)
    assert (code, any("nobody signed that" in text for text in unproved)) == (PROVED, True)
    assert judge(proof | {"version": 2}, [older], trusted)[0] == REFUTED
    assert judge(proof | {"version": 3}, [older], trusted)[0] == UNDECIDED


def first_form(kept: Kept) -> list[Checkpoint]:
    """Turn the folder into one that was kept before there was a map, signed by the same key."""
    signer, folder = Signer.open(kept.data / "checkpoint_key.pem"), CheckpointFolder(kept.checkpoints)
    checkpoints = folder.load("main").checkpoints
    for file in [*kept.checkpoints.glob("*.checkpoint.json"), the_file(kept)]:
        file.unlink()
    for each in checkpoints:
        folder.write(msgspec.structs.replace(each, ends=""), signer)
    return folder.load("main").checkpoints


def test_a_log_sealed_before_there_was_a_map_gets_one_at_once_and_keeps_its_old_checkpoints(kept: Kept) -> None:
    old = first_form(kept)
    found = verified(kept, "--no-checkpoint")
    assert (found["ok"], found["checkpoints"], found["maps"]) == (True, len(old), 0)
    made = kept.sealing().seal()
    assert made is not None
    assert (made.position, made.root, made.ends) == (old[-1].position, old[-1].root, map_root(kept.data, made.position))
    assert kept.sealing().seal() is None
    assert CheckpointFolder(kept.checkpoints).load("main").checkpoints == [*old, newest(kept)]
    found = verified(kept)
    assert (found["ok"], found["checkpoints"], found["maps"], found["written"]) == (True, len(old) + 1, 1, "")
    code, said = say(read_json(kept.export("proof.json")), kept, msgspec.to_builtins(old[0]))
    assert (code, "proven: version" in said) == (PROVED, True)


def test_a_checkpoint_of_the_first_form_is_said_to_prove_no_end(kept: Kept) -> None:
    first_form(kept)
    (kept.data / "checkpoint_key.pem").unlink()
    # Without the key a new one would be made: the file is written by what an auditor may read.
    folder = CheckpointFolder(kept.checkpoints)
    with closing(open_log(kept.settings, read_only=True)) as log:
        document, cost = prove(log, OWN, cell="main", folder=folder)
        with pytest.raises(NotProvable, match="knows no order-taobao:shop1:1"):
            prove(log, "order-taobao:shop1:1", cell="main", folder=folder)
    assert not cost.complete
    code, said = say(document, kept)
    assert code == PROVED
    assert "the checkpoint is of the first form" in said.partition("Not proved:")[2]


def test_a_restored_log_gets_a_map_with_its_first_sealing(kept: Kept, tmp_path: Path) -> None:
    backup, keys = tmp_path / "b.tar", tmp_path / "b.keys"
    assert orderspine("backup", backup, "--keys", keys, "--data", kept.data).code == 0
    shutil.rmtree(kept.data)
    assert orderspine("restore", backup, "--keys", keys, "--data", kept.data).code == 0
    proof = read_json(kept.export("proof.json"))
    code, said = say(proof, kept, read_json(kept.older))
    assert (code, "proven: version" in said) == (PROVED, True)
    assert verified(kept)["ok"]


# --- keeping it


def test_sealing_reads_the_buckets_of_what_is_new(kept: Kept) -> None:
    sealing = kept.sealing()
    for story in open_story(kept.data):
        before = story.log.tracked().head
        story.receive("one more")
        new = story.log.tracked().head - before
    made = sealing.seal()
    assert made is not None
    assert sealing.rows_read == new
    assert sealing.map_rows_written == 2, "its row, and the one of its bucket"
    assert made.ends == map_root(kept.data, made.position)


def test_two_that_seal_by_turns_go_on_in_the_same_map(kept: Kept) -> None:
    one, other = kept.sealing(), kept.sealing()
    with capture_logs() as logs:
        for number, sealing in enumerate((one, other, one, other), 3):
            go_on(kept, number * 100)
            assert sealing.seal() is not None
    assert not logs
    assert newest(kept).ends == map_root(kept.data, newest(kept).position)


def test_a_checkpoint_that_the_audit_wrote_is_caught_up_with(kept: Kept) -> None:
    go_on(kept)
    written = verified(kept)["written"]
    made = msgspec.json.decode(Path(written).read_bytes(), type=Checkpoint)
    assert made.ends == map_root(kept.data, made.position)
    with capture_logs() as logs:
        assert kept.sealing().seal() is None
    assert not logs
    with closing(KeptEnds(the_file(kept), write=False)) as ends:
        assert (ends.position, ends.root.hex()) == (made.position, made.ends)


def _sql(statement: str) -> Any:
    def damage(file: Path) -> None:
        with closing(sqlite3.connect(file)) as db:
            assert db.execute(statement).rowcount != 0
            db.commit()

    return damage


DAMAGES = {
    "lost": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "junk": lambda file: file.write_bytes(b"junk" * 4096),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-4096]),
    "a row changed": _sql("UPDATE ends SET version = version + 1"),
    "a row taken out": _sql("DELETE FROM ends WHERE position % 2"),
    "a bucket changed": _sql("UPDATE buckets SET hash = zeroblob(32) WHERE bucket = (SELECT min(bucket) FROM buckets)"),
    "a bucket taken out": _sql("DELETE FROM buckets WHERE bucket = (SELECT min(bucket) FROM buckets)"),
    "said to be further": _sql("UPDATE upto SET position = position + 1"),
    "said to be behind": _sql("UPDATE upto SET position = position - 1"),
    "no position": _sql("DELETE FROM upto"),
    "buckets said to be empty": _sql("UPDATE buckets SET streams = 0"),
    "buckets said to hold more": _sql("UPDATE buckets SET streams = 2"),
    "another type": _sql("UPDATE buckets SET hash = 'text'"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_lost_or_damaged_map_is_made_anew_from_the_log(kept: Kept, damage: Any) -> None:
    damage(the_file(kept))
    go_on(kept)
    made = kept.sealing().seal()
    assert made is not None
    assert made.ends == map_root(kept.data, made.position)
    code, said = say(read_json(kept.export("proof.json")), kept, read_json(kept.older))
    assert (code, "proven: version" in said) == (PROVED, True)
    found = verified(kept)
    assert (found["ok"], found["maps"], found["maps_passed"]) == (True, found["checkpoints"], 0)


def test_an_older_copy_of_the_map_is_caught_up_with(kept: Kept) -> None:
    old = the_file(kept).read_bytes()
    go_on(kept)
    assert kept.sealing().seal() is not None
    the_file(kept).write_bytes(old)
    go_on(kept, 400)
    made = kept.sealing().seal()
    assert made is not None
    assert made.ends == map_root(kept.data, made.position)


@pytest.mark.parametrize(
    "damage",
    [
        _sql("UPDATE ends SET leaf = zeroblob(32)"),
        _sql("UPDATE buckets SET streams = 0"),
        _sql("UPDATE buckets SET hash = (SELECT hash FROM buckets ORDER BY bucket DESC LIMIT 1)"),
        _sql("DELETE FROM ends"),
    ],
)
def test_a_map_that_is_changed_under_a_proof_is_made_anew_by_who_has_the_key_and_else_left_out(
    kept: Kept, damage: Any
) -> None:
    damage(the_file(kept))
    with closing(open_log(kept.settings, read_only=True)) as log:
        document, cost = prove(log, OWN, cell="main", folder=CheckpointFolder(kept.checkpoints))
    assert not cost.complete
    code, said = say(document, kept)
    assert (code, "the file leaves its proof out" in said) == (PROVED, True)
    code, said = say(read_json(kept.export("proof.json")), kept)
    assert (code, "proven: version" in said) == (PROVED, True)


def test_nothing_is_sealed_behind_a_map_that_was_signed_falsely(kept: Kept) -> None:
    true = newest(kept)
    signer = Signer.open(kept.data / "checkpoint_key.pem")
    false = msgspec.structs.replace(true, ends="00" * 32, at_ms=true.at_ms + 1)
    CheckpointFolder(kept.checkpoints).write(false, signer)
    go_on(kept)
    with pytest.raises(SealRefused, match=f"map of stream ends at position {true.position} is not the one"):
        kept.sealing().seal()


@pytest.mark.parametrize("anew", [False, True])
def test_a_stream_with_a_gap_in_its_versions_is_not_sealed(kept: Kept, anew: bool) -> None:
    go_on(kept)
    with closing(sqlite3.connect(kept.data / "log.db")) as db:
        row = db.execute("SELECT * FROM events ORDER BY position DESC LIMIT 1").fetchone()
        position, stream, version, tag, envelope, data, sealed, _ = row
        leaf = leaf_hash(position, stream, version + 1, tag, envelope, data, sealed or b"")
        db.execute("UPDATE events SET version = version + 1, leaf = ? WHERE position = ?", (leaf, position))
        db.commit()
    if anew:
        the_file(kept).unlink()
    with pytest.raises(SealRefused, match=f"{stream} goes from version {version - 1} to version {version + 1}"):
        kept.sealing().seal()


# --- the audit


def test_maps_of_earlier_checkpoints_are_compared_while_they_are_cheap_and_all_with_full(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (3, 4, 5):
        go_on(kept, number * 100)
        kept.sealing().seal()
    found = verified(kept)
    assert (found["ok"], found["maps"], found["maps_passed"]) == (True, 5, 0)
    monkeypatch.setattr(audit, "MAPS_SPARE", 0)
    monkeypatch.setattr(audit, "MAPS_EVENTS", 1_000)

    def check(*, full: bool) -> audit.Verified:
        folder = CheckpointFolder(kept.checkpoints)
        return audit.verify(scan_of(kept.settings), "main", folder=folder, signer=None, full=full)

    few = check(full=False)
    assert few.maps_passed > 0
    assert few.maps + few.maps_passed == 5
    assert few.maps >= 1, "the newest one is always compared"
    assert (check(full=True).maps, check(full=True).maps_passed) == (5, 0)
    false = msgspec.structs.replace(newest(kept), ends="11" * 32)
    for file in sorted(kept.checkpoints.glob("*.checkpoint.json"))[-1:]:
        file.unlink()
    CheckpointFolder(kept.checkpoints).write(false, Signer.open(kept.data / "checkpoint_key.pem"))
    assert [each.kind for each in check(full=False).problems] == ["map"]


def test_an_event_that_was_changed_is_named_and_not_the_map_beside_it(kept: Kept) -> None:
    change(kept.data, "UPDATE events SET version = 99 WHERE position = 30")
    kinds = {each["kind"] for each in verified(kept)["problems"]}
    assert "leaf" in kinds
    assert "map" not in kinds
