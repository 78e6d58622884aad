"""A conversation, kept entry by entry: whoever loads it after a crash knows exactly what happened and what did not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from corral.platform import database
from corral.platform.database import Row, Unit, many, sql
from corral.providers.entries import Answer, Call, Entry, Prompt, Result, Summary, Turn, View
from corral.runs.ingest import Beside
from corral.wire.runs import Engine

_decode = msgspec.json.Decoder(Entry).decode

_INSERT = (
    "INSERT INTO conversation (org_id, session_id, idx, run_id, entry, created_at) "
    "VALUES ($1, $2, $3, $4, $5, now_ms()) ON CONFLICT (session_id, idx) DO NOTHING"
)


class Kept(msgspec.Struct, frozen=True):
    """An entry in its place."""

    idx: int
    run_id: str
    entry: Entry


class Conversation:
    """All of one conversation, as one run goes on with it."""

    def __init__(self, org_id: int, session_id: str, run_id: str, kept: Sequence[Kept] = ()) -> None:
        """Take what is stored."""
        self.session_id = session_id
        self._org_id = org_id
        self._run_id = run_id
        self._kept = list(kept)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was said yet."""
        return not self._kept

    # What is added

    def next(self, entries: Sequence[Entry]) -> list[Kept]:
        """Return entries in their places; they count once `take` says that they are stored."""
        return [Kept(idx, self._run_id, entry) for idx, entry in enumerate(entries, self.newest + 1)]

    def storing(self, kept: Sequence[Kept]) -> Beside:
        """Return the unit that stores them, beside the events that tell of them; twice is once."""
        rows = [
            (self._org_id, self.session_id, one.idx, one.run_id, msgspec.json.encode(one.entry).decode())
            for one in kept
        ]

        def unit(_run_no: int) -> Unit[None]:
            yield many(_INSERT, rows)

        return unit

    def take(self, kept: Sequence[Kept]) -> None:
        """They are stored."""
        self._kept += kept

    # What it says

    def view(self) -> View:
        """Return what the provider is to be shown: the newest summary, and what came after what it stands for."""
        summary = self._summary()
        seen: View = []
        if summary is not None:
            if summary.task is not None:
                seen.append(Prompt(summary.task))
            seen.append(Prompt(_stand_in(summary)))
        return seen + [step for _, step in self.steps()]

    def steps(self) -> list[tuple[int, Prompt | Turn]]:
        """Return prompts and turns since the newest summary, each with where it begins, as providers want to see them.

        A turn's results come right after its answer, and what was said while the model wrote it after both.
        """
        summary = self._summary()
        kept = [one for one in self._kept if one.idx >= (summary.kept if summary else 0)]
        results = {one.entry.call_id: one.entry for one in kept if isinstance(one.entry, Result)}
        steps: list[tuple[int, Prompt | Turn]] = []
        said: list[tuple[int, Prompt]] = []
        for one in kept:
            if isinstance(one.entry, Prompt):
                said.append((one.idx, one.entry))
            elif isinstance(one.entry, Answer):
                steps += [prompt for prompt in said if prompt[0] <= one.entry.seen]
                said = [prompt for prompt in said if prompt[0] > one.entry.seen]
                mine = tuple(results[call.id] for call in one.entry.calls if call.id in results)
                steps.append((one.idx, Turn(one.entry, mine)))
        return steps + said

    def open_calls(self) -> list[Call]:
        """Return the newest answer's calls that have no result."""
        done = {one.entry.call_id for one in self._kept if isinstance(one.entry, Result)}
        newest = self.newest_answer()
        return [call for call in newest.calls if call.id not in done] if newest else []

    def newest_answer(self) -> Answer | None:
        """Return what the model said last."""
        return next((one.entry for one in reversed(self._kept) if isinstance(one.entry, Answer)), None)

    @property
    def newest(self) -> int:
        """Return the index of the newest entry; -1 if there is none."""
        return self._kept[-1].idx if self._kept else -1

    def unheard(self) -> list[Prompt]:
        """Return what the model has not seen yet."""
        answer = self.newest_answer()
        seen = answer.seen if answer else -1
        return [one.entry for one in self._kept if isinstance(one.entry, Prompt) and one.idx > seen]

    def told(self) -> list[str]:
        """Return what this run was told and the model has not seen yet."""
        unheard = self.unheard()
        return [entry.text for entry in self._mine() if isinstance(entry, Prompt) and entry in unheard]

    def since_measured(self) -> tuple[int, list[Prompt | Turn]] | None:
        """Return the tokens that the provider counted at the newest answer, and what came after that was counted.

        None if there is no such count, or a summary has made the conversation another since.
        """
        newest = next((one for one in reversed(self._kept) if isinstance(one.entry, Answer | Summary)), None)
        if newest is None or not isinstance(newest.entry, Answer) or not newest.entry.context:
            return None
        calls = {call.id for call in newest.entry.calls}
        results = [
            Prompt(one.entry.text) for one in self._kept if isinstance(one.entry, Result) and one.entry.call_id in calls
        ]
        return newest.entry.context, [*results, *self.unheard()]

    def has(self, key: str) -> bool:
        """Tell whether this message was given before."""
        return key != "" and any(isinstance(one.entry, Prompt) and one.entry.key == key for one in self._kept)

    def call_ids(self) -> set[str]:
        """Return the ids of all calls so far."""
        return {call.id for one in self._kept if isinstance(one.entry, Answer) for call in one.entry.calls}

    def inputs(self) -> list[int]:
        """Return which of the run's inputs are in here."""
        return [entry.input for entry in self._mine() if isinstance(entry, Prompt) and entry.input]

    def turns(self) -> int:
        """Return how many answers the run was given since it was last told to start."""
        return sum(isinstance(entry, Answer) for entry in self._since_start())

    def cost_micros(self) -> int:
        """Return what the run has cost since it was last told to start."""
        return sum(entry.cost_micros for entry in self._since_start() if isinstance(entry, Answer | Summary))

    def summarised(self, kept: int, text: str, cost_micros: int) -> Summary:
        """Return the summary that lets everything before `kept` go."""
        before = self._summary()
        task, answers = (before.task, before.answers) if before else (None, 0)
        for idx, step in self.steps():
            if idx >= kept:
                break
            if isinstance(step, Turn):
                answers += 1
            elif step.starts:
                task, answers = step.text, 0
        return Summary(kept, text, answers, task, cost_micros)

    def _summary(self) -> Summary | None:
        return next((one.entry for one in reversed(self._kept) if isinstance(one.entry, Summary)), None)

    def _mine(self) -> Iterator[Entry]:
        return (one.entry for one in self._kept if one.run_id == self._run_id)

    def _since_start(self) -> list[Entry]:
        mine = list(self._mine())
        starts = [at for at, entry in enumerate(mine) if isinstance(entry, Prompt) and entry.starts]
        return mine[starts[-1] :] if starts else mine


async def load(org_id: int, session_id: str, run_id: str) -> Conversation:
    """Return the stored conversation."""
    rows = await database.scan(
        "SELECT idx, run_id, entry FROM conversation WHERE session_id = $1 AND org_id = $2 ORDER BY idx",
        session_id,
        org_id,
    )
    kept = [Kept(row["idx"], row["run_id"], _decode(row["entry"])) for row in rows]
    return Conversation(org_id, session_id, run_id, kept)


async def fork(org_id: int, session_id: str, of_run_id: str, run_id: str, into: str | None = None) -> Conversation:
    """Return a copy for `run_id`, up to where `of_run_id` ended: what others added since is theirs. Twice is once."""
    name = into or run_id

    def copy() -> Unit[None]:
        yield sql(
            "INSERT INTO conversation (org_id, session_id, idx, run_id, entry, created_at) "
            "SELECT org_id, $3, idx, run_id, entry, created_at FROM conversation WHERE session_id = $1 AND org_id = $2 "
            "AND idx <= (SELECT max(idx) FROM conversation WHERE session_id = $1 AND org_id = $2 AND run_id = $4) "
            "ON CONFLICT (session_id, idx) DO NOTHING",
            session_id, org_id, name, of_run_id,
        )  # fmt: skip

    forked = await load(org_id, name, run_id)
    if forked.is_empty:
        await database.commit(copy())
        forked = await load(org_id, name, run_id)
    return forked


def forget(run: Row) -> Unit[None]:
    """Delete the conversation of a run that is deleted, unless another run goes on with it."""
    if run["engine"] != Engine.PROVIDER:
        return
    session = run["session_id"] or run["id"]
    others = yield sql(
        "SELECT 1 FROM runs WHERE no <> $2 AND (id IN (SELECT run_id FROM conversation WHERE session_id = $1) "
        "OR parent_no = $2 AND session_id = $1) LIMIT 1",
        session, run["no"],
    )  # fmt: skip
    if not others:
        yield sql("DELETE FROM conversation WHERE session_id = $1 AND org_id = $2", session, run["org_id"])


def _stand_in(summary: Summary) -> str:
    what = "summed up here" if summary.text else "left out"
    told = f"[Corral: {summary.answers} earlier answers outgrew your context window and are {what}.]"
    return f"{told}\n\n{summary.text}" if summary.text else f"{told} Go on from what follows."
