"""Checks the proof of an order, by itself: one file, Python's standard library, and `cryptography` for signatures.

    python verify_export.py ORDER.json --key KEY.pem --checkpoint OLDER.json

Nothing of OrderSpine is imported, so that its own mistakes are not repeated; copy this file to where you trust it. The
key and the older checkpoint must come from somewhere else than the file: an earlier visit, the outside witness, the
merchant's published key. One of the two is needed, both are better. docs/audit.md describes the format.

"Complete to position N, proven": the last event in the file stands at the order's place in the map of stream ends whose
root the checkpoint signs; or nothing stands there, and there is no such order. Files of version 1 have no such proof,
and checkpoints of the first form no such map: of them it is said that the end is the signer's word, or not proved.

Exit code 0: everything below "proved" holds. 1: the file is refuted. 2: nothing can be said (unreadable file, nothing
to hold it against).
"""

import argparse
import json
import sys
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PROVED, REFUTED, UNDECIDED = 0, 1, 2
_CHECKPOINT = (
    "cell",
    "generation",
    "position",
    "root",
    "at_ms",
    "epoch",
    "incarnation",
    "mail",
    "restored_from",
    "key",
)
_CHECKPOINT_2 = (*_CHECKPOINT[:-1], "ends", "key")
_ROOT = ("cell", "generation", "position", "root")
_DIGEST_HEX = 64
_HASH_BYTES = 32
_KEY_BITS = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = ("cell", "generation", "position", "root", "stream", "version", "key")


class Refuted(Exception):
    """Something in the file is not so."""


class Unusable(Exception):
    """The file, the key or the checkpoint cannot be judged at all."""


# --- the tree (RFC 6962, section 2.1)


def leaf_of(stream: str, event: dict[str, Any]) -> bytes:
    """Return the leaf of an event.

    SHA-256(0x00, position, version, five lengths, stream, tag, envelope, data, sealed); numbers: 8 bytes, big-endian.
    """
    parts = [stream.encode(), event["tag"].encode(), event["envelope"].encode(), event["data"].encode()]
    parts.append(b"" if event["sealed"] is None else b64decode(event["sealed"], validate=True))
    numbers = [event["position"], event["version"], *map(len, parts)]
    return sha256(b"\0" + b"".join(number.to_bytes(8, "big") for number in numbers) + b"".join(parts)).digest()


def node_of(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01, left, right)."""
    return sha256(b"\1" + left + right).digest()


def root_by_inclusion(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that a path leads to: the recursion of the RFC, read from the leaf's side."""
    if size == 1:
        if path:
            raise Refuted("a path is too long")
        return leaf
    if not path:
        raise Refuted("a path is too short")
    left = 1 << ((size - 1).bit_length() - 1)
    if index < left:
        return node_of(root_by_inclusion(leaf, index, left, path[:-1]), path[-1])
    return node_of(path[-1], root_by_inclusion(leaf, index - left, size - left, path[:-1]))


def roots_by_consistency(earlier: int, size: int, path: list[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """Return the roots of the first `earlier` and of all `size` leaves; `known`: the first, where it is a node."""
    if earlier == size:
        if known is not None:
            if path:
                raise Refuted("a path is too long")
            return known, known
        if len(path) != 1:
            raise Refuted("a path has the wrong length")
        return path[0], path[0]
    if not path:
        raise Refuted("a path is too short")
    left = 1 << ((size - 1).bit_length() - 1)
    if earlier <= left:
        before, after = roots_by_consistency(earlier, left, path[:-1], known)
        return before, node_of(after, path[-1])
    before, after = roots_by_consistency(earlier - left, size - left, path[:-1], None)
    return node_of(path[-1], before), node_of(path[-1], after)


# --- the map of stream ends


def map_leaf(key: bytes, end: dict[str, Any]) -> bytes:
    """SHA-256(0x03, key, position, version, leaf of the event); numbers: 8 bytes, big-endian."""
    leaf = bytes.fromhex(end["leaf"])
    if len(key) != _HASH_BYTES or len(leaf) != _HASH_BYTES:
        raise Refuted("a hash in the proof of where the stream ends has the wrong length")
    return sha256(b"\3" + key + end["position"].to_bytes(8, "big") + end["version"].to_bytes(8, "big") + leaf).digest()


def root_by_key(key: bytes, leaf: bytes, path: list[bytes]) -> bytes:
    """Return the root of the map in which the first bits of a key, as many as the path has steps, lead to a leaf."""
    if len(path) > _KEY_BITS:
        raise Refuted("the proof of where the stream ends is too long")
    bits = int.from_bytes(key, "big") >> _KEY_BITS - len(path)
    for side in path:
        leaf = sha256(b"\4" + (side + leaf if bits & 1 else leaf + side)).digest()
        bits >>= 1
    return leaf


# --- signatures


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the name of a key: 16 hex digits of the SHA-256 of its 32 bytes."""
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def check_signature(
    what: str, domain: bytes, fields: tuple[str, ...], signed: dict[str, Any], keys: dict[str, Any]
) -> None:
    """Check an Ed25519 signature over a line that names what is signed, and the fields as one JSON array."""
    key = keys.get(signed["key"])
    if key is None:
        raise Refuted(f"{what} is signed by key {signed['key']}, which is not one of those you trust or the file holds")
    text = json.dumps([signed[name] for name in fields], separators=(",", ":"), ensure_ascii=False)
    try:
        key.verify(bytes.fromhex(signed["signature"]), domain + text.encode())
    except InvalidSignature as error:
        raise Refuted(f"the signature of {what} is wrong") from error


def check_checkpoint(what: str, checkpoint: dict[str, Any], keys: dict[str, Any]) -> None:
    """Check a checkpoint's signature; those of the first form know no map of stream ends."""
    if checkpoint.get("ends"):
        check_signature(what, b"orderspine checkpoint 2\n", _CHECKPOINT_2, checkpoint, keys)
    else:
        check_signature(what, b"orderspine checkpoint 1\n", _CHECKPOINT, checkpoint, keys)


# --- the proof


class Checker:
    """Judges one file."""

    def __init__(self, proof: dict[str, Any], held: list[dict[str, Any]], trusted: list[Ed25519PublicKey]) -> None:
        """Take a file's content, checkpoints and keys from elsewhere."""
        self.proof = proof
        self.held = held
        self.trusted = {fingerprint(key): key for key in trusted}
        self.proved: list[str] = []
        self.unproved: list[str] = []

    def check(self) -> None:
        """Judge.

        Raises:
            Refuted: something is not so.
            Unusable: there is nothing to hold it against, or the file is of another form.
        """
        if self.proof.get("format") != "orderspine order proof" or self.proof.get("version") not in (1, 2):
            raise Unusable("this is no order proof of version 1 or 2")
        if not self.trusted and not self.held:
            raise Unusable("give --key or --checkpoint, from elsewhere: a file proves nothing by a key of its own")
        top = self.proof["checkpoint"]
        keys = self._keys(top)
        check_checkpoint("the checkpoint", top, keys)
        for each in self.held:
            check_checkpoint(f"your checkpoint of position {each['position']}", each, keys)
        if top["cell"] != self.proof["cell"]:
            raise Refuted("the checkpoint is of another cell than the file")
        self._check_growth(top, keys)
        covered = self._check_events(top)
        self._check_payloads()
        if self.proof["version"] == 1:
            self._check_word(top, keys, covered)
        else:
            self._check_end(top, covered)
        self._check_revealed()
        self.unproved.append(
            "That what was recorded is true, and anything of other orders: the file shows one order of one log."
        )

    def _keys(self, top: dict[str, Any]) -> dict[str, Ed25519PublicKey]:
        """Return the keys that are believed: those given, and the file's where a checkpoint of yours names them."""
        named = {each["key"] for each in self.held}
        keys = dict(self.trusted)
        for name, pem in self.proof["keys"].items():
            try:
                key = load_pem_public_key(pem.encode())
            except UnsupportedAlgorithm as error:
                raise Refuted(f"key {name} of the file is none of Ed25519") from error
            if not isinstance(key, Ed25519PublicKey) or fingerprint(key) != name:
                raise Refuted(f"key {name} of the file is another one")
            if name in named:
                keys.setdefault(name, key)
        if self.trusted and top["key"] not in self.trusted:
            raise Refuted(f"the checkpoint is signed by key {top['key']}, not by yours ({', '.join(self.trusted)})")
        return keys

    def _check_growth(self, top: dict[str, Any], keys: dict[str, Any]) -> None:
        root, size = bytes.fromhex(top["root"]), top["position"]
        shown: list[dict[str, Any]] = []
        for each in self.proof["older"]:
            older, path = each["checkpoint"], [bytes.fromhex(node) for node in each["consistency"]]
            if older["key"] not in keys:
                self.unproved.append(f"The checkpoint of position {older['position']}: you do not trust its key.")
                continue
            check_checkpoint(f"the checkpoint of position {older['position']}", older, keys)
            if not 0 < older["position"] <= size:
                raise Refuted(f"a checkpoint of position {older['position']} is not older than the one of {size}")
            then = bytes.fromhex(older["root"])
            node = then if older["position"].bit_count() == 1 or older["position"] == size else None
            if roots_by_consistency(older["position"], size, path, node) != (then, root):
                raise Refuted(f"the log did not grow out of the checkpoint of position {older['position']}")
            shown.append(older)
        line = {top["generation"]}
        while (
            more := {
                each["restored_from"] for each in [top, *shown] if each["generation"] in line and each["restored_from"]
            }
            - line
        ):
            line |= more
        for each in shown:
            if each["cell"] != top["cell"] or each["generation"] not in line:
                raise Refuted(f"the checkpoint of position {each['position']} is of another log")
        said = {tuple(each[name] for name in _ROOT) for each in (top, *shown)}
        _check_one_word([top, *shown, *self.held])
        for each in self.held:
            if tuple(each[name] for name in _ROOT) not in said:
                raise Refuted(
                    f"the file does not show that the log grew out of your checkpoint of position {each['position']}: "
                    "ask for one made with --older and that checkpoint"
                )
            self.proved.append(
                f"Since your checkpoint of position {each['position']} nothing before it was changed, cut or put in: "
                f"the log of {size} events begins with exactly those {each['position']}."
            )
        if not self.held:
            self.unproved.append(
                "That the past was not rewritten before the newest checkpoint by somebody who has the signing key: "
                "hold an older checkpoint against it (--checkpoint)."
            )
        if not self.trusted:
            self.unproved.append("Whose the key is: it is the one your checkpoint names (--key says more).")

    def _check_events(self, top: dict[str, Any]) -> int:
        """Check the events, and return the last version under the checkpoint."""
        root, size, stream = bytes.fromhex(top["root"]), top["position"], self.proof["stream"]
        position, covered, open_events = 0, 0, 0
        for version, event in enumerate(self.proof["events"], 1):
            what = f"event {event['position']} (version {event['version']}, {event['tag']})"
            if event["version"] != version:
                raise Refuted(f"version {version} of {stream} is missing: {what} stands in its place")
            if event["position"] <= position:
                raise Refuted(f"{what} stands before its predecessor")
            position = event["position"]
            leaf = leaf_of(stream, event)
            if leaf.hex() != event["leaf"]:
                raise Refuted(f"{what} is not the one of its leaf: something in it was changed")
            if event["inclusion"] is None:
                if position <= size:
                    raise Refuted(f"{what} has no inclusion proof")
                open_events += 1
                continue
            if position > size:
                raise Refuted(f"{what} is behind the checkpoint, and cannot be under it")
            path = [bytes.fromhex(node) for node in event["inclusion"]]
            if root_by_inclusion(leaf, position - 1, size, path) != root:
                raise Refuted(f"{what} is not in the log of the checkpoint")
            covered = version
        if not covered:
            if self.proof["version"] == 1 or self.proof["end"] is None:
                raise Unusable("no checkpoint covers an event of it yet")
        else:
            self.proved.append(
                f"Each of versions 1 to {covered} of {stream} stood in the log as it is here, byte for byte, at its "
                f"position, when the checkpoint of position {size} was signed; none in between is missing."
            )
        if open_events:
            self.unproved.append(f"The last {open_events} event(s): no checkpoint covers them yet.")
        return covered

    def _check_payloads(self) -> None:
        wanted = {}
        for event in self.proof["events"]:
            text = json.loads(event["data"]).get("payload", "")
            if len(text) == _DIGEST_HEX:
                wanted[event["version"]] = text
        if {each["version"]: each["digest"] for each in self.proof["payloads"]} != wanted:
            raise Refuted("the payloads are not those that the events name")
        there = [each for each in self.proof["payloads"] if each["sealed"] is not None]
        for each in there:
            if sha256(b64decode(each["sealed"], validate=True)).hexdigest() != each["digest"]:
                raise Refuted(f"the payload of version {each['version']} was changed")
        if there:
            self.proved.append(f"{len(there)} raw message(s) are, sealed, those that the events name by digest.")
        if len(there) < len(wanted):
            self.unproved.append(f"{len(wanted) - len(there)} raw message(s) are named by events and not in the file.")

    def _check_end(self, top: dict[str, Any], covered: int) -> None:
        """Check that the last event in the file is the stream's last one: what stands at its key in the signed map."""
        end, stream, size = self.proof["end"], self.proof["stream"], top["position"]
        if end is None:
            why = "the file leaves its proof out: ask for one made anew"
            if not top.get("ends"):
                why = "the checkpoint is of the first form, without a map of stream ends"
            self.unproved.append(f"That {stream} has no further event after version {covered}: {why}.")
            return
        if not top.get("ends"):
            raise Refuted("the file proves where the stream ends by a map that its checkpoint does not sign")
        root, path = bytes.fromhex(top["ends"]), [bytes.fromhex(node) for node in end["path"]]
        key, there = sha256(b"\2" + stream.encode()).digest(), end["there"]
        found = None if there is None else bytes.fromhex(there["key"])
        leaf = bytes(_HASH_BYTES) if there is None or found is None else map_leaf(found, there)
        if root_by_key(key, leaf, path) != root:
            if found is not None and root_by_key(found, leaf, path) == root:
                raise Refuted(f"the proof of where the stream ends is that of another stream, not of {stream}")
            raise Refuted(
                f"the proof of where {stream} ends does not lead to the root of the map that is signed: the proof, the "
                "key or the root is another one"
            )
        signed = _EPOCH + timedelta(milliseconds=top["at_ms"])
        when = f"{signed.isoformat(timespec='seconds')} by its maker's clock"
        rests = (
            "That the map was made from the log: whoever has the signing key could sign another one, but only one and "
            "the same for all who hold this checkpoint. `audit verify` makes it again from the whole log and compares."
        )
        if there is None or found != key:
            if covered:
                raise Refuted(f"the map of stream ends has no {stream}, and the file shows {covered} event(s) of it")
            self.proved.append(
                f"Complete to position {size}, proven: there is no event of {stream}. Its place in the map of stream "
                f"ends, whose root the checkpoint of {when} signs, is not taken."
            )
            self.unproved.append(rests)
            return
        last = self.proof["events"][covered - 1] if covered else {"version": 0}
        if there["version"] != last["version"]:
            raise Refuted(
                f"{stream} ends at version {there['version']}, and the file shows {covered} up to position {size}: "
                f"events were {'left out' if there['version'] > covered else 'added'}"
            )
        if any(there[name] != last[name] for name in ("position", "leaf")):
            raise Refuted(f"the last event of {stream} is another one than the file shows")
        self.proved.append(
            f"Complete to position {size}, proven: version {covered}, event {last['position']} of the log, is the last "
            f"one of {stream}. It stands at its place in the map of stream ends, whose root the checkpoint of {when} "
            "signs."
        )
        self.unproved.append(rests)

    def _check_word(self, top: dict[str, Any], keys: dict[str, Any], covered: int) -> None:
        """Check what files of version 1 have instead of the map: the signer's word."""
        end, stream = self.proof["end"], self.proof["stream"]
        if end is None:
            self.unproved.append(f"That {stream} has no further event after version {covered}: nobody signed that.")
            return
        check_signature("the word on where the stream ends", b"orderspine stream end 1\n", _END, end, keys)
        about = {name: top[name] for name in ("cell", "generation", "position", "root", "key")}
        if any(end[name] != value for name, value in about.items()) or end["stream"] != stream:
            raise Refuted("the word on where the stream ends is about something else")
        if end["version"] != covered:
            raise Refuted(
                f"{stream} ends at version {end['version']}, and the file shows {covered}: events were left out"
            )
        self.proved.append(
            f"The signer's word: the holder of the key signed that version {covered} was the last one of {stream} at "
            f"position {top['position']}. Any later version at a position up to there would convict them."
        )
        self.unproved.append(
            "That this word is true: a missing last event cannot be seen from a file of this older form. `audit "
            "verify` on the whole log against your checkpoint does see it; a file that is made anew proves it."
        )

    def _check_revealed(self) -> None:
        shown = self.proof.get("revealed")
        if not shown:
            return
        stream, key = self.proof["stream"], bytes.fromhex(shown["key"])
        commitment = HKDF(SHA256(), 32, None, b"orderspine data key commitment").derive(key)

        def opened(sealed: str) -> bytes:
            raw = b64decode(sealed, validate=True)
            if raw[:33] != b"\1" + commitment:
                raise Refuted("a sealed block is committed to another key than the one that is shown")
            try:
                return AESSIV(key).decrypt(raw[33:], [stream.encode()])
            except (InvalidTag, ValueError) as error:
                raise Refuted("the key that is shown does not open a sealed block") from error

        blocks = {str(each["version"]): each["sealed"] for each in self.proof["events"] if each["sealed"] is not None}
        texts = {each["digest"]: each["sealed"] for each in self.proof["payloads"] if each["sealed"] is not None}
        for kind, sealed in (("events", blocks), ("payloads", texts)):
            for name, text in shown[kind].items():
                if name not in sealed or opened(sealed[name]).decode("utf-8", "backslashreplace") != text:
                    raise Refuted(f"what is shown in plain text of {kind} {name} is not what was sealed")
        self.proved.append(
            f"{len(shown['events'])} personal block(s) and {len(shown['payloads'])} raw message(s) in plain text are "
            "what was sealed at that time, under the one key the log is committed to."
        )


def _check_one_word(checkpoints: list[dict[str, Any]]) -> None:
    """Refuse signed checkpoints that contradict each other: one log has one root, and one map, at a position."""
    said: dict[tuple[Any, ...], dict[str, Any]] = {}
    for each in checkpoints:
        for name in ("root", "ends"):
            place = (each["cell"], each["generation"], each["position"], name)
            if each.get(name) and said.setdefault(place, each)[name] != each[name]:
                what = "roots" if name == "root" else "maps of stream ends"
                raise Refuted(f"two {what} are signed for position {each['position']}: one of them is false")


def judge(proof: Any, held: list[Any], trusted: list[Ed25519PublicKey]) -> tuple[int, list[str], list[str], str]:
    """Return the exit code, what is proved, what is not, and why the file is refuted or unusable."""
    try:
        checker = Checker(proof, held, trusted)
        checker.check()
    except Refuted as reason:
        return REFUTED, [], [], str(reason)
    except Unusable as reason:
        return UNDECIDED, [], [], str(reason)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return REFUTED, [], [], f"the file is not of the form it names ({type(error).__name__}: {error})"
    return PROVED, checker.proved, checker.unproved, ""


def read_json(path: Path) -> Any:
    """Read a JSON file in which no name stands twice.

    Raises:
        Unusable: it cannot be read.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a name stands twice in one object")
        return dict(pairs)

    try:
        return json.loads(path.read_bytes(), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error


def read_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises:
        Unusable: it is none of Ed25519.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Unusable(f"{path} is no key of Ed25519")
    return key


def report(file: Path, held: list[Path], trusted: list[Path]) -> tuple[int, str]:
    """Judge files; return the exit code and what to tell people."""
    try:
        code, proved, unproved, reason = judge(read_json(file), [*map(read_json, held)], [*map(read_key, trusted)])
    except Unusable as error:
        code, proved, unproved, reason = UNDECIDED, [], [], str(error)
    if code != PROVED:
        return code, f"{'REFUTED' if code == REFUTED else 'NOTHING CAN BE SAID'}: {_shown(reason)}\n"
    lines = ["Proved:"]
    lines += [f"  + {_shown(text)}" for text in proved]
    lines.append("Not proved:")
    lines += [f"  - {_shown(text)}" for text in unproved]
    return code, "\n".join(lines) + "\n"


def _shown(text: str) -> str:
    """Return a sentence without what could move a terminal's cursor: parts of it come from the file."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


def main(words: list[str] | None = None) -> int:
    """Parse the arguments and judge."""
    parser = argparse.ArgumentParser(description="Checks the proof of an order, by itself.")
    parser.add_argument("file", type=Path, help="what `orderspine audit export` wrote")
    parser.add_argument(
        "--checkpoint", type=Path, action="append", default=[], help="an older checkpoint, from elsewhere"
    )
    parser.add_argument("--key", type=Path, action="append", default=[], help="a public key (PEM), from elsewhere")
    given = parser.parse_args(words)
    code, text = report(given.file, given.checkpoint, given.key)
    sys.stdout.write(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
