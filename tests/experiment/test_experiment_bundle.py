"""A bundle holds everything of a run but its secrets, and is opened without believing it."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_experiment_baselines import result

from testbed.errors import InvalidInput
from testbed.experiment.bundle import open_bundle, read_bundle, write_bundle
from testbed.experiment.redaction import GONE, names_a_secret, redact_manifest, redact_text, secrets_of
from testbed.experiment.result import TimelineEvent
from testbed.experiment.saving import read_result, read_study, write_result

PASSWORD, TOKEN = "hunter2-correct-horse", "s3cr3t-t0ken-value"
MANIFESTS = f"""\
apiVersion: v1
kind: Secret
metadata:
  name: db
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{{"stringData": {{"password": "{PASSWORD}"}}}}'
stringData: {{password: {PASSWORD}}}
data: {{other: {base64.b64encode(b"from-base64-data").decode()}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  template:
    spec:
      imagePullSecrets: [{{name: registry}}]
      containers:
        - name: web
          image: sample:v1
          env:
            - {{name: API_TOKEN, value: {TOKEN}}}
            - {{name: GREETING, value: hello}}
            - {{name: DB, valueFrom: {{secretKeyRef: {{name: db, key: password}}}}}}
"""
LOG = f"connecting with {PASSWORD}\nAuthorization: Bearer abcdefgh12345678\npostgres://u:pw12345@db/x\nfrom-base64-data\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "small-05010000-aaaa"
    (folder / "manifests").mkdir(parents=True)
    (folder / "logs").mkdir()
    found = result()
    event = TimelineEvent(at_s=1, kind="Started", message=f"started with --token={TOKEN} and {PASSWORD}")
    found = found.model_copy(update={"runs": (found.runs[0].model_copy(update={"events": (event,)}), *found.runs[1:])})
    write_result(found, folder)
    (folder / "manifests" / "web.yaml").write_text(MANIFESTS)
    (folder / "manifests" / "locustfile.py").write_text(f'PASSWORD = "{PASSWORD}"\nclass U: pass\n')
    (folder / "logs" / "run-1-web.log").write_text(LOG)
    (folder / "pulse-1.csv").write_text("0,fresh,1,2,3,ok,200,\n")
    (folder / "report.html").write_text(PASSWORD)
    (folder / "journal.json").write_text(json.dumps({"state": "finished"}))
    return folder


def members(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {item.name.partition("/")[2]: (archive.extractfile(item) or io.BytesIO()).read().decode()
                for item in archive}


def test_everything_is_in_it_and_no_secret(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bad.tar.gz"
    write_bundle(run, out, {"doctor.txt": f"engine: yes, {PASSWORD}\n"})
    found = members(out)
    assert set(found) == {"result.json", "journal.json", "manifests/web.yaml", "manifests/locustfile.py",
                          "logs/run-1-web.log", "pulse-1.csv", "doctor.txt"}
    everything = "\n".join(found.values())
    for secret in (PASSWORD, TOKEN, "from-base64-data", "abcdefgh12345678", "pw12345",
                   base64.b64encode(PASSWORD.encode()).decode(), base64.b64encode(b"from-base64-data").decode()):
        assert secret not in everything
    for kept in ("GREETING", "hello", "secretKeyRef", "registry", "connecting with", "0,fresh,1,2,3,ok,200"):
        assert kept in everything


def test_it_opens_elsewhere_as_the_same_result(run: Path, tmp_path: Path) -> None:
    write_bundle(run, tmp_path / "bad.tar.gz", {})
    found = read_bundle(tmp_path / "bad.tar.gz")
    assert found.run_id == result().run_id and found.runs[1:] == result().runs[1:]
    assert GONE in found.runs[0].events[0].message


def test_what_is_no_bundle_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_text("nothing")
    with pytest.raises(InvalidInput, match="not a bundle"):
        open_bundle(tmp_path / "a.tar.gz")
    with pytest.raises(InvalidInput, match="not a bundle"):
        open_bundle(tmp_path / "missing.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x/other.json"))
    with pytest.raises(InvalidInput, match="not a bundle of one run"):
        open_bundle(tmp_path / "b.tar.gz")


@pytest.mark.parametrize(("name", "text"), [
    ("result.json", '{"runId": 7}'), ("result.json", "["), ("result.json", "[" * 100_000), ("study.json", "[]"),
    ("study.json", '{"variants": [{"folder": "1-a"}]}'), ("study.json", '{"variants": [{"folder": []}]}')])
def test_what_is_no_result_is_told_alike_wherever_it_is_kept(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / name, f"x/{name}")
    words = {}
    for path, read in ((tmp_path / "a.tar.gz", lambda: open_bundle(tmp_path / "a.tar.gz")),
                       (tmp_path / name, lambda: read_study(tmp_path) if "study" in name else read_result(tmp_path))):
        with pytest.raises(InvalidInput) as raised:
            read()
        words[path.name] = raised.value.message.removeprefix(f"{path} ")
    assert all(told.startswith(("is not a result of this version", "1-a has no result"))
               for told in words.values()), words


def test_a_hostile_bundle_writes_nothing(tmp_path: Path) -> None:
    """Names that climb out and links are not followed: nothing is unpacked at all."""
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("x/result.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        data = json.dumps(result().to_json()).encode()
        climbing = tarfile.TarInfo("../../result.json")
        climbing.size = len(data)
        archive.addfile(climbing, io.BytesIO(data))
    before = sorted(tmp_path.rglob("*"))
    assert open_bundle(tmp_path / "evil.tar.gz") == result()
    assert sorted(tmp_path.rglob("*")) == before


def test_secrets_of_a_chaos_toolkit_experiment_are_taken_out_whatever_they_are_called(
    run: Path, tmp_path: Path,
) -> None:
    (run / "manifests" / "experiment.json").write_text(json.dumps({
        "title": "small", "secrets": {"web": {"user": "alice-of-web", "pw": ["pw-of-alice", {"old": "pw-of-before"}],
                                              "door": {"type": "env", "key": "DOOR", "default": "pw-by-default"},
                                              "safe": {"type": "vault", "path": "secrets/web", "key": "pin"}}},
        "method": [{"type": "probe", "name": "look", "secrets": ["web"],
                    "provider": {"type": "process", "path": "look", "arguments": "--as alice-of-web"}}]}))
    (run / "logs" / "run-1-look.log").write_text("hello alice-of-web, pw-of-alice and pw-of-before\n")
    write_bundle(run, tmp_path / "bad.tar.gz", {})
    found = members(tmp_path / "bad.tar.gz")
    everything = "\n".join(found.values())
    for secret in ("alice-of-web", "pw-of-alice", "pw-of-before", "pw-by-default"):
        assert secret not in everything
    for kept in ("DOOR", "secrets/web", "title", "- web", "--as"):
        assert kept in found["manifests/experiment.json"]


# --- redaction


@pytest.mark.parametrize("name", ["DB_PASSWORD", "apiKey", "aws-secret", "TOKEN", "session_cookie", "PASSWD"])
def test_names_of_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["AUTHOR", "GREETING", "secretName", "max_tokens", "LOG_LEVEL", "periodSeconds"])
def test_names_of_no_secrets(name: str) -> None:
    assert not names_a_secret(name)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=12))
def test_what_has_no_secret_stays_as_it_is(value: object) -> None:
    if not secrets_of([value]) and GONE not in json.dumps(redact_manifest(value)):
        assert redact_manifest(value) == value


@given(st.text(min_size=4, max_size=30).filter(lambda text: text.strip() == text and text not in GONE))
def test_a_known_secret_is_found_wherever_it_stands(secret: str) -> None:
    manifest = {"kind": "Secret", "stringData": {"a": secret}}
    found = redact_text(f"before {secret} after {base64.b64encode(secret.encode()).decode()}", secrets_of([manifest]))
    assert secret not in found.replace(GONE, "").replace("before", "").replace("after", "")
