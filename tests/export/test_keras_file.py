"""A ``.keras`` file is data: what else it holds is neither unpacked nor run."""

import dataclasses
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from helpers import tiny_network
from ser_live import SerError
from ser_live.model.card import KERAS_MEMBER
from ser_live.testing import tiny_card
from ser_train.models.keras_file import (
    LARGEST_MEMBERS_BYTES,
    RECORD_MEMBER,
    load_model,
    read_record,
)
from ser_train.models.training_record import TrainingRecord

MEMBERS: dict[str, bytes] = {
    "metadata.json": b"{}",
    "config.json": b"{}",
    "model.weights.h5": b"weights",
    KERAS_MEMBER: tiny_card().to_json().encode(),
}


def write(folder: Path, members: dict[str, bytes], compression: int = 8) -> Path:
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refuse(path: Path, message: str) -> None:
    with pytest.raises(SerError, match=message) as caught:
        read_record(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


def test_card_and_record_are_read(tmp_path: Path) -> None:
    assert read_record(write(tmp_path, MEMBERS)) == (tiny_card(), None)
    record = TrainingRecord(("a",), (), ("b",), seed=3)
    text = json.dumps(dataclasses.asdict(record)).encode()
    path = write(tmp_path, {**MEMBERS, RECORD_MEMBER: text}, zipfile.ZIP_STORED)
    assert read_record(path) == (tiny_card(), record)
    path = write(tmp_path, {**MEMBERS, RECORD_MEMBER: b'{"seed": 0}'})
    refuse(path, r"ser\.training\.json lacks the field 'training_speakers'")


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "assets/vocabulary.txt", "\x1b[2J"])
def test_members_that_would_be_written_somewhere_are_refused(tmp_path: Path, name: str) -> None:
    refuse(write(tmp_path, {**MEMBERS, name: b"x"}), "not a .keras model of ser-train: it holds")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, MEMBERS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    refuse(path, r"it holds 'config.json', wanted .*, once each")


@pytest.mark.parametrize("name", [KERAS_MEMBER, "config.json"])
def test_members_do_not_unpack_without_bound(tmp_path: Path, name: str) -> None:
    most = LARGEST_MEMBERS_BYTES[name]
    bomb = write(tmp_path, {**MEMBERS, name: bytes(most + 1)})
    assert bomb.stat().st_size < 30_000
    refuse(bomb, f"its member {name} has {most + 1} bytes, wanted at most {most}")


def test_a_member_that_is_longer_than_it_says_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {**MEMBERS, KERAS_MEMBER: bytes(2**24)})
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 100)
    path.write_bytes(data)
    refuse(path, "not a .keras model .*CRC")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, compression: int) -> None:
    refuse(write(tmp_path, MEMBERS, compression), "compressed in a way that Keras does not use")


def test_what_is_no_archive(tmp_path: Path) -> None:
    refuse(tmp_path / "missing.keras", "no such file")
    refuse(tmp_path, "no such file")
    path = tmp_path / "text.keras"
    path.write_text("hello")
    refuse(path, "not a .keras model")
    path.write_bytes(write(tmp_path, MEMBERS).read_bytes()[:-30])
    refuse(path, "not a .keras model")
    for missing, message in (("config.json", "no config.json"), (KERAS_MEMBER, "no model card")):
        refuse(write(tmp_path, {k: v for k, v in MEMBERS.items() if k != missing}), message)
    refuse(write(tmp_path, {**MEMBERS, KERAS_MEMBER: b"\xff\xfe"}), "not a .keras model")
    refuse(write(tmp_path, {**MEMBERS, KERAS_MEMBER: b"{"}), "card is no valid JSON")
    locked = bytearray(write(tmp_path, MEMBERS).read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.rfind(magic) + flags] |= 1
    path.write_bytes(locked)
    refuse(path, "not a .keras model .*encrypted")


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_layer(folder: Path, **changes: Any) -> Path:
    """Save a model and put another layer where its dropout was."""
    path = folder / "model.keras"
    tiny_network.build(4, 257).save(path)
    members = members_of(path)
    config = json.loads(members["config.json"])
    layer = next(x for x in config["config"]["layers"] if x["class_name"] == "Dropout")
    if "config" in changes:
        layer["config"] = {"name": layer["name"], **changes.pop("config")}
    layer.update(changes)
    members["config.json"] = json.dumps(config).encode()
    members[KERAS_MEMBER] = tiny_card().to_json().encode()
    return write(folder, members)


def code(folder: Path) -> dict[str, Any]:
    """Bytes of a function that would leave a file behind."""
    import keras  # noqa: PLC0415 - it takes seconds, also below

    layer = keras.layers.Lambda(eval(f"lambda x: [x, open({str(folder / 'ran')!r}, 'w')][0]"))
    config: dict[str, Any] = keras.saving.serialize_keras_object(layer)["config"]
    return {"function": config["function"], "arguments": {}}


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    evil = (tmp_path / "evil.py", tmp_path / "ran")
    evil[0].write_text(f"open({str(evil[1])!r}, 'w')\n")
    layers: tuple[dict[str, Any], ...] = (
        {"class_name": "Lambda", "config": code(tmp_path)},
        {"class_name": "TFSMLayer", "config": {"filepath": str(tmp_path)}},
        {"module": "evil", "class_name": "Evil", "registered_name": "Evil"},
        {"module": "os", "class_name": "system", "registered_name": None},
        {"module": "keras.config", "class_name": "enable_unsafe_deserialization"},
    )
    for layer in layers:
        path = with_layer(tmp_path, **layer)
        reason = "brings code" if layer["class_name"] in ("Lambda", "TFSMLayer") else ""
        with pytest.raises(SerError, match=f"Keras cannot load it .*{reason}") as caught:
            load_model(path)
        assert str(caught.value).isprintable()
    assert not evil[1].exists()


def test_the_code_would_run_if_keras_were_told_to(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415

    path = with_layer(tmp_path, class_name="Lambda", config=code(tmp_path))
    keras.saving.load_model(path, compile=False, safe_mode=False)
    assert (tmp_path / "ran").exists()


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    path = with_layer(tmp_path)
    load_model(path)
    members = members_of(path)
    members["model.weights.h5"] = members["model.weights.h5"][:-1000]
    with pytest.raises(SerError, match="Keras cannot load it"):
        load_model(write(tmp_path, members))
