"""Annotate pasted text in a process of its own, started on first use and stopped when idle.

The model takes a second or more and hundreds of megabytes to load, and an untrusted text may take long. So the pages
never load it: this process sends one text at a time to a child (`flows.explorer.annotator_child`), and kills it at the
time limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from e2emern.defaults import MESH
from e2emern.warehouse.layout import Home

LONGEST_TEXT, LONGEST_DOCUMENT = 20_000, 200_000  # characters
STARTING_S, ANSWER_S, WAIT_S, IDLE_S = 300.0, 60.0, 60.0, 600.0
_PROGRAM = "from e2emern.flows.explorer.annotator_child import main; main()"
_ROOT = Path(__file__).parents[3]  # of the package, so that the child runs the same code


class AnnotatorError(Exception):
    """A text could not be annotated; the message says why in one line."""


class Annotator:
    """The child process that annotates. Threads may call it concurrently; it answers one request after the other."""

    def __init__(
        self,
        home: Home,
        *,
        model: Path | None = None,
        mesh: Path = MESH,
        device: str = "auto",
        idle_s: float = IDLE_S,
    ) -> None:
        """Start nothing yet. Without `model`, use the champion of the home, or the bundled model."""
        given = {"home": home.root, "model": model, "mesh": mesh, "device": device}
        self._start = {name: value and str(value) for name, value in given.items()}
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._idle: threading.Timer | None = None
        self.versions: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._child is not None and self._child.poll() is None

    def annotate(self, text: str) -> dict[str, Any]:
        """Return `mentions` and `versions`, those of model and vocabulary.

        Mentions are rows like those of the table; each has `candidates`, the best concepts with their scores.
        """
        if len(text) > LONGEST_TEXT:
            raise AnnotatorError(f"the text has {len(text):,} characters; at most {LONGEST_TEXT:,} are annotated")
        return self._ask({"text": text})

    def candidates(self, passages: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the same as `annotate` for the passages of a document, given section, offset and text of each."""
        if (length := sum(len(one["text"]) for one in passages)) > LONGEST_DOCUMENT:
            raise AnnotatorError(f"the document has {length:,} characters; at most {LONGEST_DOCUMENT:,} are read")
        return self._ask({"passages": passages})

    def attention(self, sentence: str, concept: str) -> dict[str, Any]:
        """Return `words`, the attention of each word of a sentence for a concept, and the `name` of the concept."""
        if len(sentence) > LONGEST_TEXT:
            raise AnnotatorError(f"the sentence has {len(sentence):,} characters; at most {LONGEST_TEXT:,} are read")
        return self._ask({"sentence": sentence, "concept": concept})

    def close(self) -> None:
        """Stop the process."""
        if self._idle:
            self._idle.cancel()
        if self._child:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe:
                    pipe.close()
            self._child = None

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self._lock.acquire(timeout=WAIT_S):
            raise AnnotatorError("other texts are being annotated; try again in a minute")
        try:
            if self._idle:
                self._idle.cancel()
            if not self.running:
                self.close()
                self._start_child()
            answer = self._exchange(request, ANSWER_S)
            self._idle = threading.Timer(self._idle_s, self._stop_idle)
            self._idle.daemon = True
            self._idle.start()
            return answer
        finally:
            self._lock.release()

    def _start_child(self) -> None:
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.versions = self._exchange(self._start, STARTING_S)["versions"]

    def _exchange(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one line and return the answer. Raises `AnnotatorError`; after the time limit, the process is killed."""
        child = self._child
        assert child is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            _pipe(child.stdin).write(json.dumps(request).encode() + b"\n")
            _pipe(child.stdin).flush()
            line = _pipe(child.stdout).readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if not line:
            self.close()
            why = f"took longer than {timeout_s:g} s" if late.is_set() else "ended early; it may need more memory"
            raise AnnotatorError(f"the process that annotates {why}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise AnnotatorError(answer["error"])
        return answer

    def _stop_idle(self) -> None:
        with self._lock:
            if self._idle is threading.current_thread():  # no request came in the meantime
                self.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
