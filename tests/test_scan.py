"""Scanning an archive: the same detections as listening to it, once each, whatever happens."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tone_model import tone

from kws import Detector, load_model
from kws.audio import AudioFile
from kws.cli import main
from kws.decision import Detection
from kws.errors import BackendUnavailable, DataError, KwsError
from kws.scanning.journal import Journal, write_detections
from kws.scanning.scan import (
    Cluster,
    Engine,
    Scanned,
    ScanSettings,
    bundled,
    connect,
    scan_recordings,
)
from kws.scanning.workers import Processes

WORDS = ("low", "high", "unknown", "silence")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings of several lengths and rates, one of them with no audio in it."""
    folder = tmp_path_factory.mktemp("archive")
    pause = np.zeros(6_000, np.int16)
    for number in range(11):
        words = [tone(WORDS[(number + k) % 4]) for k in range(1 + number % 3)]
        audio = np.concatenate([each for word in words for each in (pause, word)])
        rate = 48_000 if number == 3 else 16_000
        audio = np.repeat(audio, 3) if number == 3 else audio
        soundfile.write(folder / f"{number:02}.wav", audio, rate)
    (folder / "11.wav").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def paths(archive: Path) -> list[str]:
    """All of them, sorted."""
    return sorted(map(str, archive.iterdir()))


@pytest.fixture(scope="module")
def settings(tones: Path) -> ScanSettings:
    """The tone model, with fewer streams than there are recordings."""
    return ScanSettings(model=str(tones), streams=3)


@pytest.fixture(scope="module")
def scanned(paths: list[str], settings: ScanSettings) -> list[Scanned]:
    """What one process finds."""
    return scan_recordings(paths, settings)


def test_same_detections_as_listening(scanned: list[Scanned], tones: Path) -> None:
    """Every recording gives what a detector finds in it, in the order of the paths."""
    detector = Detector(load_model(tones))
    for result in scanned[:-1]:
        with AudioFile(result.path) as file:
            assert list(detector.listen(file)) == list(result.detections)
        assert result.error is None
    assert sum(len(result.detections) for result in scanned) > 8


def test_an_unreadable_recording_is_told_apart(scanned: list[Scanned]) -> None:
    """It says why, and the others are not disturbed."""
    assert (0.0, ()) == (scanned[-1].seconds, scanned[-1].detections)
    assert "not audio" in (scanned[-1].error or "")


def by_path(engine: Engine, paths: list[str], settings: ScanSettings) -> dict[str, Scanned]:
    """The results of an engine, once it is sure that each came once."""
    bundles = [paths[begin : begin + 2] for begin in range(0, len(paths), 2)]
    results = [each for some in engine.scan(bundles, settings) for each in some]
    assert dict.fromkeys(paths, 1) == Counter(each.path for each in results)
    return {each.path: each for each in results}


def test_processes_find_the_same(
    scanned: list[Scanned], paths: list[str], settings: ScanSettings
) -> None:
    """Two worker processes, each recording once."""
    assert {each.path: each for each in scanned} == by_path(Processes(2), paths, settings)


def test_nothing_to_scan(settings: ScanSettings) -> None:
    """No bundles, no results, with one process or two."""
    assert [] == bundled([])
    assert [] == list(Processes(1).scan([], settings)) == list(Processes(2).scan([], settings))
    assert [] == scan_recordings([], settings)


@pytest.mark.parametrize(
    ("recordings", "workers", "sizes"),
    [(1, 2, [1]), (5, 1, [5]), (40, 2, [20, 20]), (65, 1, [33, 32]), (310, 2, [52] * 4 + [51] * 2)],
)
def test_bundles_are_alike(recordings: int, workers: int, sizes: list[int], tmp_path: Path) -> None:
    """As many bundles for each worker, each recording in one, and about as many bytes in each."""
    paths = []
    for number in range(recordings):
        paths.append(str(tmp_path / str(number)))
        Path(paths[-1]).write_bytes(bytes(1000 + number))
    bundles = bundled(paths, workers)
    assert sizes == list(map(len, bundles))
    assert sorted(paths) == sorted(path for bundle in bundles for path in bundle)
    heavy = [sum(Path(path).stat().st_size for path in bundle) for bundle in bundles]
    assert max(heavy) - min(heavy) <= 1000 + recordings


def keep(journal: Journal, results: Iterator[list[Scanned]]) -> None:
    """Write everything that still comes."""
    for some in results:
        for scanned in some:
            journal.write(scanned)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_process_loses_nothing(
    jobs: int, scanned: list[Scanned], paths: list[str], settings: ScanSettings
) -> None:
    """Another one takes what it had, and each result comes once."""
    scan = Processes(jobs).scan([paths[:6], paths[6:]], settings)
    results = next(scan)
    while jobs > len({paths.index(each.path) < 6 for each in results}):  # until all have begun
        results += next(scan)
    newest = max(active_children(), key=lambda child: child.pid or 0)  # which is not yet done
    os.kill(newest.pid or 0, signal.SIGKILL)
    results += [each for some in scan for each in some]
    assert dict.fromkeys(paths, 1) == Counter(each.path for each in results)
    assert {each.path: each for each in scanned} == {each.path: each for each in results}


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_worker_that_dies_as_it_begins_is_replaced(
    scanned: list[Scanned],
    paths: list[str],
    settings: ScanSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where others had scanned, that is no reason to stop; a third time it is."""
    deaths = tmp_path / "deaths"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib\n"
        f"left = sorted(pathlib.Path({str(deaths)!r}).glob('*'))\n"
        "if left:\n    left[0].unlink()\n    os.kill(os.getpid(), 9)\n"
    )
    places = [str(tmp_path), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    deaths.mkdir()

    def scan(deaths_at_the_start: int) -> list[Scanned]:
        process = Processes(1).scan([paths[:6], paths[6:]], settings)
        results = next(process)
        for number in range(deaths_at_the_start):
            (deaths / str(number)).touch()
        os.kill(active_children()[0].pid or 0, signal.SIGKILL)
        return results + [each for some in process for each in some]

    assert {each.path: each for each in scanned} == {each.path: each for each in scan(2)}
    with pytest.raises(KwsError, match=r"ended as it began \(SIGKILL\)"):
        scan(3)


# In every process that starts here: a decoder that dies over some recordings.
CRASHES = """
import os, signal, soundfile
opened = soundfile.SoundFile.__init__
def open_or_die(self, file, *arguments, **settings):
    name = str(getattr(file, "name", file))
    if "crash" in name or "kill" in name:
        os.kill(os.getpid(), signal.SIGKILL if "kill" in name else signal.SIGSEGV)
    opened(self, file, *arguments, **settings)
soundfile.SoundFile.__init__ = open_or_die
"""


@pytest.fixture
def crashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings called crash or kill end the process that opens them."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHES)
    places = [str(tmp_path / "site"), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.usefixtures("crashing")
class TestDecoderThatCrashes:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_only_its_recording_fails(
        self, jobs: int, scanned: list[Scanned], paths: list[str], tmp_path: Path, settings: Any
    ) -> None:
        """It is named with what happened; the others of its bundle have their results."""
        crash, kill = str(tmp_path / "crash.wav"), str(tmp_path / "kill.wav")
        for path in (crash, kill):
            shutil.copy(paths[0], path)
        scan = Processes(jobs).scan([[*paths[:4], crash, kill], paths[4:]], settings)
        results = {each.path: each for some in scan for each in some}
        for path, how, again in ((crash, "SIGSEGV", False), (kill, "SIGKILL", True)):
            failed = results.pop(path)
            assert f"{path} ended the process that scanned it ({how}" in (failed.error or "")
            assert again == failed.again
        assert {each.path: each for each in scanned} == results

    def test_the_command_goes_on(
        self, archive: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And does not try it again; but what was killed, or has changed, it does."""
        for name in ("a", "b", "crash", "kill"):
            shutil.copy(archive / "03.wav", tmp_path / f"{name}.wav")
        command = ["scan", str(tmp_path), "--model", str(tones), "--jobs", "1"]
        command += ["--out", str(tmp_path / "o")]
        assert 1 == main(command)
        output = capsys.readouterr().out
        assert "4 recordings" in output
        assert "2 could not be read to the end" in output
        assert 1 == main(command)
        assert "3 of 4 are in" in capsys.readouterr().out
        os.utime(tmp_path / "crash.wav", (1, 1))
        assert 1 == main(command)
        assert "2 of 4 are in" in capsys.readouterr().out

    def test_nothing_but_crashes(self, paths: list[str], tmp_path: Path, settings: Any) -> None:
        """After some of them it is not the recordings' fault alone."""
        for number in range(4):
            shutil.copy(paths[0], tmp_path / f"crash{number}.wav")
        bundle = sorted(map(str, tmp_path.glob("*.wav")))
        with pytest.raises(KwsError, match=r"no recording was scanned.*kws bench.*SIGSEGV"):
            list(Processes(1).scan([bundle], settings))


def test_a_cluster_goes_on_after_a_crash(
    scanned: list[Scanned], paths: list[str], settings: ScanSettings
) -> None:
    """The recordings of a bundle that kills workers are scanned alone; one of them is at fault."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    known = {each.path: each for each in scanned}
    given: list[list[str]] = []

    class Future:
        def __init__(self, bundle: list[str]) -> None:
            self.bundle = bundle

        def add_done_callback(self, told: Any) -> None:
            told(self)

        def result(self) -> list[Scanned]:
            if paths[2] in self.bundle:
                raise distributed.KilledWorker("task", None, 3)
            return [known[path] for path in self.bundle]

        def release(self) -> None:
            pass

    class Client:
        def ncores(self) -> dict[str, int]:
            return {"here": 2}

        def subscribe_topic(self, topic: str, told: Any) -> None:
            pass

        unsubscribe_topic = print

        def map(self, _: Any, bundles: list[list[str]], **__: Any) -> list[Future]:
            given.extend(bundles)
            return [Future(bundle) for bundle in bundles]

    scan = Cluster(Client()).scan([paths[:4], paths[4:]], settings)
    results = {each.path: each for some in scan for each in some}
    assert [paths[:4], paths[4:], *([path] for path in paths[:4])] == given
    assert f"{paths[2]} ended each of the 4 workers" in (results.pop(paths[2]).error or "")
    assert {path: known[path] for path in results} == results
    assert len(paths) - 1 == len(results)


def test_workers_that_cannot_begin(
    paths: list[str], settings: ScanSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No recording is blamed for them."""
    dies = "import os, sys\nif 'spawn_main' in str(sys.orig_argv): os._exit(3)"
    (tmp_path / "sitecustomize.py").write_text(dies)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(KwsError, match=r"ended as it began \(code 3\)"):
        list(Processes(2).scan([paths], settings))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A client of a Dask cluster of two worker processes on this machine."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.mark.filterwarnings("default")
class TestCluster:
    def test_same_detections(
        self, cluster: Any, scanned: list[Scanned], paths: list[str], settings: ScanSettings
    ) -> None:
        """A cluster finds what one process finds."""
        assert {each.path: each for each in scanned} == by_path(Cluster(cluster), paths, settings)

    def test_results_come_one_by_one(
        self, cluster: Any, paths: list[str], settings: ScanSettings
    ) -> None:
        """Of one bundle too, each result comes alone: what is known is not lost with the rest."""
        results = list(Cluster(cluster).scan([paths], settings))
        assert [1] * len(paths) == list(map(len, results))

    def test_killed_workers_lose_nothing(
        self, cluster: Any, scanned: list[Scanned], archive: Path, tmp_path: Path, settings: Any
    ) -> None:
        """Both workers are killed in mid-run; every recording still comes, and comes once."""
        expected = {}
        for copy in range(6):
            for result in scanned:
                name = f"{copy}-{Path(result.path).name}"
                shutil.copy(result.path, tmp_path / name)
                expected[str(tmp_path / name)] = result.detections
        victims = list(cluster.run(os.getpid).values())
        results = []
        names = sorted(expected)
        bundles = [names[begin : begin + 3] for begin in range(0, len(names), 3)]
        for some in Cluster(cluster).scan(bundles, settings):
            results += some
            if victims and len(results) >= 9 * (3 - len(victims)):
                os.kill(victims.pop(), signal.SIGKILL)
        assert not victims
        assert len(expected) == len(results)
        assert expected == {each.path: each.detections for each in results}

    @pytest.mark.parametrize(
        ("failure", "details", "message"),
        [
            ("CancelledError", (), "connection to the Dask scheduler is lost"),
        ],
    )
    def test_a_cluster_that_gives_up(
        self,
        cluster: Any,
        failure: str,
        details: tuple[Any, ...],
        message: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What Dask raises then is one line that says how to go on."""
        import distributed

        class Lost:
            def add_done_callback(self, told: Any) -> None:
                told(self)

            def result(self) -> None:
                raise getattr(distributed, failure)(*details)

        monkeypatch.setattr(cluster, "map", lambda *_, **__: [Lost()])
        with pytest.raises(KwsError, match=message):
            list(Cluster(cluster).scan([["a.wav"]], ScanSettings()))


@pytest.mark.filterwarnings("default")
def test_no_scheduler_responds() -> None:
    """A scheduler that is not there is named in one line."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    with pytest.raises(BackendUnavailable, match=r"no Dask scheduler responds at tcp://127"):
        connect("tcp://127.0.0.1:9")


@pytest.mark.filterwarnings("default")
def test_certificates_are_missing() -> None:
    """An address of TLS without any is one line that says where they are named."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    with pytest.raises(BackendUnavailable, match="wants certificates"):
        connect("tls://127.0.0.1:9")


class TestJournal:
    RESULT = Scanned("a.wav", 1.0, ())

    def test_goes_on_where_it_stopped(self, tmp_path: Path, scanned: list[Scanned]) -> None:
        """What was written is read back equal; a half-written line is dropped."""
        path = tmp_path / "j"
        with closing(Journal(path, {"model": "m"})) as journal:
            for result in scanned:
                journal.write(result)
        with path.open("a") as file:
            file.write('{"path": "half')
        with closing(Journal(path, {"model": "m"})) as journal:
            assert {each.path: each for each in scanned} == journal.done
            journal.write(self.RESULT)
        lines = path.read_text().splitlines()
        assert 2 + len(scanned) == len(lines)
        assert all(json.loads(line) for line in lines)

    def test_of_another_scan(self, tmp_path: Path) -> None:
        """Results of two models do not mix."""
        with closing(Journal(tmp_path / "j", {"model": "one"})) as journal:
            journal.write(self.RESULT)
        before = (tmp_path / "j").read_text()
        with pytest.raises(DataError, match="another scan"):
            Journal(tmp_path / "j", {"model": "two"})
        assert before == (tmp_path / "j").read_text()

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        """A recording named with --out by mistake is left as it is."""
        (tmp_path / "j").write_bytes(b"RIFF\xff\xfe\n")
        with pytest.raises(DataError, match="journal"):
            Journal(tmp_path / "j", {})
        assert (tmp_path / "j").read_bytes() == b"RIFF\xff\xfe\n"

    def test_a_failure_is_tried_again(self, tmp_path: Path) -> None:
        """When the file has changed, or is there again; not while it stays as it is."""
        there, gone = tmp_path / "there.wav", tmp_path / "gone.wav"
        there.write_text("no audio")
        for path in (there, gone):
            with closing(Journal(tmp_path / "j", {})) as journal:
                journal.write(Scanned(str(path), 0.0, (), "failed"))
        with closing(Journal(tmp_path / "j", {})) as journal:
            assert {str(there)} == journal.done.keys()
        there.write_text("audio at last")
        with closing(Journal(tmp_path / "j", {})) as journal:
            assert {} == journal.done
            journal.write(Scanned(str(there), 1.0, ()))
        with closing(Journal(tmp_path / "j", {})) as journal:
            assert {str(there): Scanned(str(there), 1.0, ())} == journal.done

    @pytest.mark.parametrize(
        "line",
        [
            '{"garb',
            "[1, 2]",
            "null",
            '{"path": "x", "seconds": 1.0}',
            '{"path": 1, "seconds": 1.0, "detections": [], "error": null}',
            '{"path": "x", "seconds": "abc", "detections": [], "error": null}',
            '{"path": "x", "seconds": NaN, "detections": [], "error": null}',
            '{"path": "x", "seconds": 1.0, "detections": [{}], "error": null}',
            '{"path": "x", "seconds": 1.0, "detections": 7, "error": null}',
            '{"path": "x", "seconds": 1.0, "detections": [], "error": null, "more": 1}',
            '{"path": "x", "seconds": 1.0, "detections": [{"keyword": "a", "score": "1", '
            '"start": 0, "end": 1}], "error": null}',
            "[" * 100_000,
            "\udcff",
        ],
        ids=range(13),
    )
    def test_damaged(self, line: str, tmp_path: Path) -> None:
        """The line is named, and not a byte is changed."""
        with closing(Journal(tmp_path / "j", {})) as journal:
            journal.write(self.RESULT)
        content = (tmp_path / "j").read_bytes().split(b"\n")
        content[1] = line.encode(errors="surrogateescape")
        (tmp_path / "j").write_bytes(b"\n".join(content))
        with pytest.raises(DataError, match="damaged in line 2"):
            Journal(tmp_path / "j", {})
        assert b"\n".join(content) == (tmp_path / "j").read_bytes()

    @pytest.mark.parametrize(
        "content", [b"notes without an end", b"{}\n", b'{"scan": {}, "x": 1}\n', b"\n", b"\0" * 99]
    )
    def test_foreign(self, content: bytes, tmp_path: Path) -> None:
        """What is no journal is left as it is, and so is what cannot be one."""
        (tmp_path / "j").write_bytes(content)
        with pytest.raises(DataError, match="is no journal"):
            Journal(tmp_path / "j", {})
        assert content == (tmp_path / "j").read_bytes()
        with pytest.raises(DataError, match="is no regular file"):
            Journal(tmp_path, {})

    def test_killed_in_its_first_line(self, tmp_path: Path) -> None:
        """It begins again."""
        (tmp_path / "j").write_bytes(b'{"sca')
        with closing(Journal(tmp_path / "j", {})) as journal:
            assert {} == journal.done
        assert b'{"scan": {}}\n' == (tmp_path / "j").read_bytes()

    def test_a_full_disk_loses_nothing(self, tmp_path: Path) -> None:
        """Going on needs no space, and a result that does not fit is one line."""
        resource = pytest.importorskip("resource", reason="no limits on files here")
        with closing(Journal(tmp_path / "j", {})) as journal:
            for number in range(3000):
                journal.write(Scanned(f"{number}.wav", 1.0, ()))
        before = (tmp_path / "j").read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
            with closing(Journal(tmp_path / "j", {})) as journal:
                assert 3000 == len(journal.done)
                with pytest.raises(KwsError, match="cannot write"):
                    journal.write(self.RESULT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert before == (tmp_path / "j").read_bytes()

    def test_two_scans_at_once(self, tmp_path: Path) -> None:
        """The second is told to wait."""
        pytest.importorskip("fcntl", reason="no locks here")
        with (
            closing(Journal(tmp_path / "j", {})),
            pytest.raises(KwsError, match="another scan is writing"),
        ):
            Journal(tmp_path / "j", {})

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        """Names of files are bytes, also in the CSV file."""
        name = os.fsdecode(b"/gr\xf6\xdfer.wav")
        result = Scanned(name, 1.0, (Detection("low", 0.5, 0.0, 1.0),))
        with closing(Journal(tmp_path / "j", {})) as journal:
            journal.write(result)
        with closing(Journal(tmp_path / "j", {})) as journal:
            assert {name: result} == journal.done
        write_detections(iter([result]), tmp_path / "c")
        assert b"/gr\xf6\xdfer.wav,low" in (tmp_path / "c").read_bytes()


def test_results_come_one_by_one(paths: list[str], settings: ScanSettings) -> None:
    """Each recording's as it ends, before its bundle has."""
    for engine in (Processes(1), Processes(2)):
        sizes = [len(some) for some in engine.scan([paths], settings)]
        assert [1] * len(paths) == sizes


def test_warnings_of_workers_are_told(
    archive: Path, settings: ScanSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the process that started them, as its own."""
    for number in range(2):
        content = (archive / "03.wav").read_bytes()
        (tmp_path / f"{number}.wav").write_bytes(content[: len(content) // 2])
    paths = [[str(path)] for path in sorted(tmp_path.glob("*.wav"))]
    assert 2 == sum(len(some) for some in Processes(2).scan(paths, settings))
    assert 2 == sum("is cut off" in record.getMessage() for record in caplog.records)


ORPHANS = """
import os, signal, sys, time
from kws.scanning.scan import ScanSettings
from kws.scanning.workers import Processes
if __name__ == "__main__":
    bundles = [[path] * 500 for path in sys.argv[3:]]
    scan = Processes(2).scan(bundles, ScanSettings(model=sys.argv[1]))
    next(scan)
    os.kill(os.getpid(), int(sys.argv[2]))
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_workers_end_with_us(
    how: signal.Signals, paths: list[str], tones: Path, tmp_path: Path
) -> None:
    """However we end, in the middle of a scan: nobody holds our standard output any more."""
    (tmp_path / "orphans.py").write_text(ORPHANS)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "orphans.py"), str(tones), str(int(how)), *paths[:4]],
        capture_output=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert -how == done.returncode


class TestCommand:
    def test_scan_and_go_on(
        self,
        archive: Path,
        tones: Path,
        tmp_path: Path,
        scanned: list[Scanned],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A folder into journal and CSV; the second run repeats nothing."""
        out, table = tmp_path / "scan.jsonl", tmp_path / "scan.csv"
        command = ["scan", str(archive), "--model", str(tones), "--jobs", "1"]
        command += ["--out", str(out), "--csv", str(table)]
        assert 1 == main(command)  # one of them is no audio
        assert "12 recordings" in capsys.readouterr().out
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        expected = [(each.path, x.keyword) for each in scanned for x in each.detections]
        assert expected == [(row["path"], row["keyword"]) for row in rows]
        before = out.read_text()
        assert 1 == main(command)
        assert "12 of 12 are in" in capsys.readouterr().out
        assert before == out.read_text()

    def test_nothing_readable_fails(
        self, tmp_path: Path, tones: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One file that does not exist: exit code 1, and its name."""
        command = ["scan", "missing.wav", "--model", str(tones), "--jobs", "1"]
        assert 1 == main([*command, "--out", str(tmp_path / "o")])
        assert "missing.wav" in capsys.readouterr().out

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
    def test_pipes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A journal could not tell one `<(...)` from the next; what can read them is named."""
        os.mkfifo(tmp_path / "pipe")
        assert 1 == main(["scan", str(tmp_path / "pipe"), "--out", str(tmp_path / "o")])
        assert f"kws listen --input {tmp_path / 'pipe'}" in capsys.readouterr().err
        assert not (tmp_path / "o").exists()

    def test_a_mended_recording_is_read(
        self, tmp_path: Path, archive: Path, tones: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """By the next run of the same command; exit code 1 becomes 0."""
        (tmp_path / "a.wav").write_text("half uploaded")
        command = ["scan", str(tmp_path / "a.wav"), "--model", str(tones), "--jobs", "1"]
        command += ["--out", str(tmp_path / "o")]
        assert 1 == main(command)
        assert "1 could not be read to the end:\n  " in capsys.readouterr().out
        shutil.copy(archive / "03.wav", tmp_path / "a.wav")
        assert 0 == main(command)
        assert "could not" not in capsys.readouterr().out
        assert 0 == main(command)
        assert "1 of 1 are in" in capsys.readouterr().out

    def test_a_folder_that_cannot_be_entered(
        self, tmp_path: Path, archive: Path, tones: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The rest is scanned; what is missing is named and counted, and exit code 1 tells."""
        shutil.copy(archive / "03.wav", tmp_path / "a.wav")
        (tmp_path / "link").symlink_to(archive)
        command = ["scan", str(tmp_path), "--model", str(tones), "--jobs", "1"]
        assert 1 == main([*command, "--out", str(tmp_path / "o")])
        captured = capsys.readouterr().out
        assert "1 recordings" in captured
        assert f"1 could not be looked into:\n  {tmp_path / 'link'}: is a link" in captured

    def test_empty_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """There is nothing to scan, in one line, and no journal."""
        (tmp_path / "empty").mkdir()
        assert 1 == main(["scan", str(tmp_path / "empty"), "--out", str(tmp_path / "o")])
        assert "no recordings" in capsys.readouterr().err
        assert not (tmp_path / "o").exists()

    @pytest.mark.parametrize(
        "option", [["--jobs", "0"], ["--streams", "x"], ["--threshold", "1.5"]]
    )
    def test_wrong_usage(self, option: list[str]) -> None:
        """Numbers out of range are refused before anything is done."""
        with pytest.raises(SystemExit) as stopped:
            main(["scan", "x.wav", *option])
        assert 2 == stopped.value.code

    def test_unwritable_journal(
        self, archive: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The path is named, without a traceback."""
        out = tmp_path / "no folder" / "o"
        command = ["scan", str(archive), "--model", str(tones), "--out", str(out)]
        assert 1 == main(command)
        assert f"cannot write {out}" in capsys.readouterr().err
