"""The questions about the native protocol, each a claim of the emulator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance import observations as see
from conformance.calls import Call, Reply
from conformance.observations import Facts, Observation, Observe, of_success, outcomes
from conformance.question import Question
from qwen_embed.models import MODELS

V2, V3, V4 = "text-embedding-v2", "text-embedding-v3", "text-embedding-v4"
QWEN, FLASH = "qwen3.7-text-embedding", "qwen3.7-text-embedding-flash"

TEXT = "the wind rises over the sea"
INSTRUCT = "Given a question, retrieve passages that answer it"
UNKNOWN_WORKSPACE = {"X-DashScope-WorkSpace": "llm-0000000000000000"}

_SPARSE_TEXT = "whitby harbour, part qx-7731b: 风急天高猿啸哀 — seagulls, seagulls, seagulls"
_VOCABULARY = 250_000
_LARGEST_VALUE = 1.05
_BURST = 120

ENGINES = "qwen_embed/emulator/vectors/engines.py"
LEXICAL = "qwen_embed/emulator/vectors/lexical.py"
NATIVE = "qwen_embed/emulator/dialects/native.py"
QUOTA = "qwen_embed/emulator/quota.py"
RULES = "qwen_embed/emulator/dialects/rules.py"
SERVICE = "qwen_embed/emulator/service.py"
SPARSE = "qwen_embed/emulator/vectors/sparse.py"
MODEL_TABLE = "qwen_embed/models.py"


def body(texts: Any, model: str = V4, **parameters: Any) -> dict[str, Any]:
    """Return the body of a native request."""
    return {"model": model, "input": {"texts": texts}, "parameters": parameters}


def embed(texts: Any, model: str = V4, **parameters: Any) -> Call:
    """Return the call that asks for vectors."""
    return Call(body(texts, model, **parameters))


def native_questions(*, burst: bool) -> list[Question]:
    """Return the questions, `burst` among them where it is wanted."""
    asked = [
        *_lengths(),
        *_vectors(),
        *_sparse_vectors(),
        *_successes(),
        *_caps(),
        *_texts(),
        *_parameters(),
        *_doors(),
        *_long_texts(),
    ]
    return [*asked, _burst()] if burst else asked


def _words(count: int) -> str:
    """Return a text of so many tokens: a short common word is one in any vocabulary."""
    return " ".join(["the"] * count)


def _refusal(title: str, call: Call, module: str = RULES, **options: Any) -> Question:
    return Question(title, (call,), _refused, module, **options)


def _refused(replies: Sequence[Reply]) -> Observation:
    return Observation(see.refusal_shape(replies[0]))


def _lengths() -> Iterator[Question]:
    for model in MODELS.values():
        # The first generation has one length, whatever is asked for.
        asked = model.dimensions if len(model.dimensions) > 1 else (None,)
        labels = tuple(str(dimension or "default") for dimension in asked)
        yield Question(
            f"{model.name}: each dimension, and whether dense rows have unit length",
            tuple(
                embed([TEXT], model.name, **({"dimension": dimension} if dimension else {}))
                for dimension in asked
            ),
            _each_length(labels),
            f"{ENGINES}, {MODEL_TABLE}",
            mark="unknown",
        )


def _each_length(labels: Sequence[str]) -> Observe:
    def observe(replies: Sequence[Reply]) -> Observation:
        facts: Facts = {}
        notes: Facts = {}
        for label, reply in zip(labels, replies, strict=True):
            # One length that a region does not have says nothing against the others.
            seen = of_success(
                lambda one: Observation({"row": see.length(one[0])}, {"norm": see.norm(one[0])})
            )([reply])
            facts |= {f"{label} {name}": value for name, value in seen.facts.items()}
            notes |= {f"{label} {name}": value for name, value in seen.notes.items()}
        return Observation(facts, notes)

    return observe


def _vectors() -> Iterator[Question]:
    both = {"output_type": "dense&sparse"}

    @of_success
    def of_types(replies: Sequence[Reply]) -> Observation:
        plain, document, query = replies
        return Observation(
            {
                "without text_type as a document": see.dense_alike(plain, document),
                "query as document, dense": see.dense_alike(query, document),
                "query as document, sparse": see.sparse_alike(query, document),
                "query as document, indices": see.same_indices(query, document),
            }
        )

    yield Question(
        "text_type: its default, and whether queries differ from documents, dense and sparse",
        (
            embed([TEXT], **both),
            embed([TEXT], text_type="document", **both),
            embed([TEXT], text_type="query", **both),
        ),
        of_types,
        f"{ENGINES}, {SPARSE}",
        mark="unknown",
    )

    @of_success
    def of_instructions(replies: Sequence[Reply]) -> Observation:
        query, instructed, document, instructed_document = replies
        return Observation(
            {
                "instruct leaves a query, dense": see.dense_alike(query, instructed),
                "instruct leaves a query, sparse": see.sparse_alike(query, instructed),
                "instruct leaves a document, dense": see.dense_alike(document, instructed_document),
                "instruct leaves a document, sparse": see.sparse_alike(
                    document, instructed_document
                ),
                "instruct is billed": see.yes(instructed.tokens > query.tokens),
            }
        )

    yield Question(
        "instruct: what it changes of queries and documents, dense and sparse",
        tuple(
            embed([TEXT], text_type=text_type, **both, **instruct)
            for text_type in ("query", "document")
            for instruct in ({}, {"instruct": INSTRUCT})
        ),
        of_instructions,
        f"{ENGINES}, {SPARSE}, {NATIVE}",
        mark="unknown",
    )

    @of_success
    def of_repeats(replies: Sequence[Reply]) -> Observation:
        first, second, among_others = replies
        return Observation(
            {
                "two calls alike, dense": see.dense_alike(first, second),
                "two calls alike, sparse": see.sparse_alike(first, second),
                "alone as among others, dense": see.dense_alike(first, among_others),
                "alone as among others, sparse": see.sparse_alike(first, among_others),
            }
        )

    yield Question(
        "Vectors of one text: whether they repeat between calls and beside other texts",
        (embed([TEXT], **both), embed([TEXT], **both), embed([TEXT, "a cat", "a dog"], **both)),
        of_repeats,
        f"{ENGINES}, {SPARSE}",
        mark="unknown",
    )

    @of_success
    def of_blanks(replies: Sequence[Reply]) -> Observation:
        plain, *others = replies
        labels = ("a space before", "spaces behind", "a line end behind")
        return Observation(
            {
                f"{label} leaves it, {kind}": alike(plain, other)
                for label, other in zip(labels, others, strict=True)
                for kind, alike in (("dense", see.dense_alike), ("sparse", see.sparse_alike))
            }
        )

    yield Question(
        "Blanks around a text: whether they change its vectors",
        tuple(embed([text], **both) for text in (TEXT, f" {TEXT}", f"{TEXT}  ", f"{TEXT}\n")),
        of_blanks,
        f"{LEXICAL}, {SPARSE}",
        mark="unknown",
    )


def _sparse_vectors() -> Iterator[Question]:
    for model in (V4, V3, QWEN, FLASH):
        yield Question(
            f"{model}: sparse vectors, their indices, repeats, values and order",
            (embed([_SPARSE_TEXT], model, output_type="sparse"),),
            of_success(
                lambda replies: see.sparse_shape(
                    replies[0], _SPARSE_TEXT, _VOCABULARY, _LARGEST_VALUE
                )
            ),
            SPARSE,
            mark="unknown",
        )
    for first, second in ((V3, V4), (QWEN, FLASH), (V4, QWEN)):
        yield Question(
            f"{first} and {second}: whether they share a sparse vocabulary",
            tuple(embed([TEXT], model, output_type="sparse") for model in (first, second)),
            of_success(lambda replies: Observation({"same indices": see.same_indices(*replies)})),
            SPARSE,
            mark="unknown",
        )

    @of_success
    def of_outputs(replies: Sequence[Reply]) -> Observation:
        dense, sparse, both = replies
        names = {
            label: ", ".join(sorted(see.rows(reply)[0]))
            for label, reply in (("dense", dense), ("sparse", sparse), ("dense&sparse", both))
        }
        return Observation(
            {
                **{f"names in a {label} row": found for label, found in names.items()},
                "dense alone as with sparse": see.dense_alike(dense, both),
                "sparse alone as with dense": see.sparse_alike(sparse, both),
                "all cost the same": see.yes(dense.tokens == sparse.tokens == both.tokens),
            }
        )

    yield Question(
        "output_type: what each gives (is `embedding` absent from sparse alone?) and costs",
        tuple(embed([TEXT], output_type=kind) for kind in ("dense", "sparse", "dense&sparse")),
        of_outputs,
        NATIVE,
        mark="one source",
    )


def _successes() -> Iterator[Question]:
    # As many as any cap that the service ever had.
    six = [f"text number {number}" for number in range(6)]
    yield Question(
        "The form of a success: names, types, order, kind of content",
        (embed(six),),
        of_success(
            lambda replies: Observation(
                see.success_shape(replies[0]),
                {
                    "content-type": replies[0].headers.get("content-type", "none"),
                    "tokens": str(replies[0].tokens),
                    "headers": ", ".join(sorted(replies[0].headers)),
                },
            )
        ),
        NATIVE,
    )
    yield Question(
        "Accept-Encoding: gzip, and whether the answer is packed",
        (Call(body(six), headers={"Accept-Encoding": "gzip"}),),
        of_success(
            lambda replies: Observation(
                {"packed as": replies[0].headers.get("content-encoding", "not packed")},
                {"transfer-encoding": replies[0].headers.get("transfer-encoding", "none")},
            )
        ),
        SERVICE,
    )

    @of_success
    def of_duplicates(replies: Sequence[Reply]) -> Observation:
        once, twice = replies
        return Observation({"billed twice": see.yes(twice.tokens == 2 * once.tokens)})

    yield Question(
        "A text that is there twice in a request: whether it is billed twice",
        (embed([TEXT]), embed([TEXT, TEXT])),
        of_duplicates,
        RULES,
    )


def _caps() -> Iterator[Question]:
    for model in MODELS.values():
        cap = model.texts_per_request

        def observe(replies: Sequence[Reply]) -> Observation:
            taken, refused = replies
            return Observation(
                {
                    **see.outcome(taken, "as many texts as the cap:"),
                    **see.outcome(refused, "one more:"),
                    "the cap named": see.cap_named(refused),
                }
            )

        yield Question(
            f"{model.name}: {cap} texts in a request, and {cap + 1}",
            (embed(["a"] * cap, model.name), embed(["a"] * (cap + 1), model.name)),
            observe,
            MODEL_TABLE,
        )


def _texts() -> Iterator[Question]:
    yield _refusal("An empty text", embed([""]), mark="unknown")
    yield _refusal("A lone space", embed([" "]), mark="unknown")
    yield _refusal("Blanks of other kinds", embed(["\n\u3000\t"]), mark="unknown")
    yield _refusal("An empty text among others fails the whole request", embed(["a", ""]))
    yield _refusal(f"An empty text for {V2}", embed([""], V2), mark="unknown")
    yield _refusal("null for a text", embed([None]))
    yield _refusal("A dict for a text", embed([{"text": "a"}]))
    yield _refusal("Token ids for a text", embed([[1820, 9987]]))
    yield _refusal("A number among texts", embed(["a", 7]))
    yield _refusal("A text that is not in a list", embed("a"), mark="unknown")
    yield _refusal("An empty list", embed([]))
    yield _refusal("No texts", Call({"model": V4, "input": {}, "parameters": {}}))
    yield _refusal("No input", Call({"model": V4, "parameters": {}}))


def _parameters() -> Iterator[Question]:
    bare = {"model": V4, "input": {"texts": ["a"]}}
    yield _refusal("`parameters` absent", Call(bare), NATIVE)
    yield _refusal("`parameters` null", Call({**bare, "parameters": None}), NATIVE, mark="unknown")
    yield Question("`parameters` empty", (embed(["a"]),), outcomes(), NATIVE)
    yield Question(
        "Parameters that are null",
        (embed(["a"], dimension=None, text_type=None, output_type=None, instruct=None),),
        outcomes(),
        NATIVE,
        mark="unknown",
    )
    yield Question(
        "Parameters that do not exist",
        (embed(["a"], dimensions=64, kwargs={"text_type": "query"}),),
        of_success(lambda replies: Observation({"row": see.length(replies[0])})),
        NATIVE,
        mark="unknown",
    )
    yield Question(
        f"`dimension` sent to {V2}",
        (embed(["a"], V2, dimension=512),),
        of_success(lambda replies: Observation({"row": see.length(replies[0])})),
        RULES,
        mark="one source",
    )
    yield _refusal(f"{V4}: a dimension that it does not have", embed(["a"], dimension=100))
    yield _refusal(f"{V3}: a dimension of {V4} alone", embed(["a"], V3, dimension=2048))
    yield _refusal("A dimension that is a string", embed(["a"], dimension="512"), mark="unknown")
    yield _refusal("A dimension of 0", embed(["a"], dimension=0))
    yield _refusal("A text_type that does not exist", embed(["a"], text_type="passage"), NATIVE)
    yield _refusal("An output_type that does not exist", embed(["a"], output_type="both"), NATIVE)
    yield _refusal(f"Sparse vectors of {V2}", embed(["a"], V2, output_type="dense&sparse"), NATIVE)
    yield _refusal(
        f"instruct sent to {V3}", embed(["a"], V3, text_type="query", instruct=INSTRUCT), NATIVE
    )
    yield _refusal(
        "instruct that is no string", embed(["a"], text_type="query", instruct=7), NATIVE
    )


def _doors() -> Iterator[Question]:
    asked = body(["a"])
    yield _refusal("A model that does not exist", embed(["a"], "text-embedding-v0"))
    yield _refusal("No model", Call({"input": {"texts": ["a"]}, "parameters": {}}))
    yield _refusal("A wrong key", Call(asked, key="wrong"))
    yield _refusal("A wrong key and a body that is no JSON", Call(b"{", key="wrong"))
    yield _refusal("No Authorization header", Call(asked, key="none"))
    yield Question("`bearer` in lower case", (Call(asked, scheme="bearer"),), outcomes(), SERVICE)
    yield _refusal(
        "A workspace that does not exist",
        Call(asked, headers=UNKNOWN_WORKSPACE),
        mark="unknown",
    )
    yield _refusal("A path that does not exist", Call(asked, path="/services/embeddings/none"))
    yield _refusal("GET in place of POST", Call(b"", method="GET"))
    yield _refusal("A body that is no JSON", Call(b"{"))
    yield _refusal("A body that is no object", Call([1]))
    # What makes it large is not text, so that it costs a token if it is taken.
    large = {**asked, "parameters": {"unknown": "a" * (16 * 1024 * 1024)}}
    yield _refusal("A body above 16 MiB", Call(large, most_tokens=8, timeout=180))


def _long_texts() -> Iterator[Question]:
    yield Question(
        f"{FLASH}: a request of 4,700 tokens, above which it was said to hang",
        (Call(body([_words(235)] * 20, FLASH), most_tokens=5_000),),
        outcomes(),
        RULES,
        mark="guess",
    )

    def observe(replies: Sequence[Reply]) -> Observation:
        shape = see.refusal_shape(replies[0])
        return Observation({**shape, "the limit named": see.length_named(replies[0])})

    for model, count in ((V2, 2_100), (V4, 8_300), (V3, 8_300)):
        call = Call(body([_words(count)], model), most_tokens=count + 100)
        yield Question(f"{model}: a text of {count:,} tokens", (call,), observe, RULES)


def _burst() -> Question:
    def observe(replies: Sequence[Reply]) -> Observation:
        throttled = [reply for reply in replies if reply.status == 429]
        codes = sorted({reply.code for reply in throttled})
        waits = sorted({reply.headers.get("retry-after", "absent") for reply in throttled})
        return Observation(
            {"codes": ", ".join(codes), "Retry-After": ", ".join(waits)},
            {
                "refused": f"{len(throttled)} of {len(replies)}",
                "headers of a refusal": ", ".join(sorted(throttled[0].headers))
                if throttled
                else "",
                "messages": " | ".join(sorted({reply.message for reply in throttled})),
                "retry-after-ms": ", ".join(
                    sorted({reply.headers.get("retry-after-ms", "absent") for reply in throttled})
                ),
            },
        )

    call = Call(body(["a"], dimension=64), most_tokens=4)
    return Question(
        "A burst: the code of a 429, and whether it has Retry-After",
        (call,),
        observe,
        QUOTA,
        mark="unknown",
        burst=_BURST,
    )
