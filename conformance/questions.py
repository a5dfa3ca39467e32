"""The questions about the native protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance import observations as obs
from conformance.calls import Request, Response
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


def embed(texts: Any, model: str = V4, **parameters: Any) -> Request:
    """Return a request for vectors."""
    return Request(body(texts, model, **parameters))


def native_questions(*, burst: bool) -> list[Question]:
    """Return the questions, with or without the burst that provokes a 429."""
    questions = [
        *_lengths(),
        *_vectors(),
        *_sparse_vectors(),
        *_successes(),
        *_caps(),
        *_texts(),
        *_parameters(),
        *_access(),
        *_long_texts(),
    ]
    return [*questions, _burst()] if burst else questions


def _words(count: int) -> str:
    """Return a text of `count` tokens: a short common word is one token in any vocabulary."""
    return " ".join(["the"] * count)


def _error_question(title: str, request: Request, module: str = RULES, **options: Any) -> Question:
    return Question(title, (request,), _observe_error, module, **options)


def _observe_error(responses: Sequence[Response]) -> Observation:
    return Observation(obs.error_shape(responses[0]))


def _lengths() -> Iterator[Question]:
    for model in MODELS.values():
        # Models of the first generation ignore the dimension.
        dimensions = model.dimensions if len(model.dimensions) > 1 else (None,)
        labels = tuple(str(dimension or "default") for dimension in dimensions)
        yield Question(
            f"{model.name}: each dimension, and whether dense vectors have unit length",
            tuple(
                embed([TEXT], model.name, **({"dimension": dimension} if dimension else {}))
                for dimension in dimensions
            ),
            _each_length(labels),
            f"{ENGINES}, {MODEL_TABLE}",
            certainty="unknown",
        )


def _each_length(labels: Sequence[str]) -> Observe:
    def observe(responses: Sequence[Response]) -> Observation:
        facts: Facts = {}
        notes: Facts = {}
        for label, response in zip(labels, responses, strict=True):
            # A dimension that a region does not have must not fail the others.
            observed = of_success(
                lambda one: Observation({"vector": obs.length(one[0])}, {"norm": obs.norm(one[0])})
            )([response])
            facts |= {f"{label} {name}": value for name, value in observed.facts.items()}
            notes |= {f"{label} {name}": value for name, value in observed.notes.items()}
        return Observation(facts, notes)

    return observe


def _vectors() -> Iterator[Question]:
    both = {"output_type": "dense&sparse"}

    @of_success
    def of_types(responses: Sequence[Response]) -> Observation:
        plain, document, query = responses
        return Observation(
            {
                "no text_type equals document": obs.dense_alike(plain, document),
                "query equals document, dense": obs.dense_alike(query, document),
                "query equals document, sparse": obs.sparse_alike(query, document),
                "query equals document, indices": obs.same_indices(query, document),
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
        certainty="unknown",
    )

    @of_success
    def of_instructions(responses: Sequence[Response]) -> Observation:
        query, instructed, document, instructed_document = responses
        return Observation(
            {
                "same query with instruct, dense": obs.dense_alike(query, instructed),
                "same query with instruct, sparse": obs.sparse_alike(query, instructed),
                "same document with instruct, dense": obs.dense_alike(
                    document, instructed_document
                ),
                "same document with instruct, sparse": obs.sparse_alike(
                    document, instructed_document
                ),
                "instruct is billed": obs.yes(instructed.tokens > query.tokens),
            }
        )

    yield Question(
        "instruct: its effect on queries and documents, dense and sparse",
        tuple(
            embed([TEXT], text_type=text_type, **both, **instruct)
            for text_type in ("query", "document")
            for instruct in ({}, {"instruct": INSTRUCT})
        ),
        of_instructions,
        f"{ENGINES}, {SPARSE}, {NATIVE}",
        certainty="unknown",
    )

    @of_success
    def of_repeats(responses: Sequence[Response]) -> Observation:
        first, second, among_others = responses
        return Observation(
            {
                "two requests equal, dense": obs.dense_alike(first, second),
                "two requests equal, sparse": obs.sparse_alike(first, second),
                "alone equals among others, dense": obs.dense_alike(first, among_others),
                "alone equals among others, sparse": obs.sparse_alike(first, among_others),
            }
        )

    yield Question(
        "Vectors of one text: whether they are equal in every request and among other texts",
        (embed([TEXT], **both), embed([TEXT], **both), embed([TEXT, "a cat", "a dog"], **both)),
        of_repeats,
        f"{ENGINES}, {SPARSE}",
        certainty="unknown",
    )

    @of_success
    def of_blanks(responses: Sequence[Response]) -> Observation:
        plain, *others = responses
        labels = ("a leading space", "trailing spaces", "a trailing newline")
        return Observation(
            {
                f"same vector with {label}, {kind}": compare(plain, other)
                for label, other in zip(labels, others, strict=True)
                for kind, compare in (("dense", obs.dense_alike), ("sparse", obs.sparse_alike))
            }
        )

    yield Question(
        "Whitespace around a text: whether it changes the vectors",
        tuple(embed([text], **both) for text in (TEXT, f" {TEXT}", f"{TEXT}  ", f"{TEXT}\n")),
        of_blanks,
        f"{LEXICAL}, {SPARSE}",
        certainty="unknown",
    )


def _sparse_vectors() -> Iterator[Question]:
    for model in (V4, V3, QWEN, FLASH):
        yield Question(
            f"{model}: sparse vectors: indices, repeated indices, values and order",
            (embed([_SPARSE_TEXT], model, output_type="sparse"),),
            of_success(
                lambda responses: obs.sparse_shape(
                    responses[0], _SPARSE_TEXT, _VOCABULARY, _LARGEST_VALUE
                )
            ),
            SPARSE,
            certainty="unknown",
        )
    for first, second in ((V3, V4), (QWEN, FLASH), (V4, QWEN)):
        yield Question(
            f"{first} and {second}: whether they share a sparse vocabulary",
            tuple(embed([TEXT], model, output_type="sparse") for model in (first, second)),
            of_success(
                lambda responses: Observation({"same indices": obs.same_indices(*responses)})
            ),
            SPARSE,
            certainty="unknown",
        )

    @of_success
    def of_outputs(responses: Sequence[Response]) -> Observation:
        dense, sparse, both = responses
        names = {
            label: ", ".join(sorted(obs.items(response)[0]))
            for label, response in (("dense", dense), ("sparse", sparse), ("dense&sparse", both))
        }
        return Observation(
            {
                **{f"keys of a {label} item": found for label, found in names.items()},
                "dense alone equals dense with sparse": obs.dense_alike(dense, both),
                "sparse alone equals sparse with dense": obs.sparse_alike(sparse, both),
                "all cost the same": obs.yes(dense.tokens == sparse.tokens == both.tokens),
            }
        )

    yield Question(
        "output_type: what each returns (does sparse alone omit `embedding`?) and costs",
        tuple(embed([TEXT], output_type=kind) for kind in ("dense", "sparse", "dense&sparse")),
        of_outputs,
        NATIVE,
        certainty="one source",
    )


def _successes() -> Iterator[Question]:
    # No more than any cap that the service ever had.
    six = [f"text number {number}" for number in range(6)]
    yield Question(
        "The format of a success: keys, types, order, media type",
        (embed(six),),
        of_success(
            lambda responses: Observation(
                obs.success_shape(responses[0]),
                {
                    "content-type": responses[0].headers.get("content-type", "none"),
                    "tokens": str(responses[0].tokens),
                    "headers": ", ".join(sorted(responses[0].headers)),
                },
            )
        ),
        NATIVE,
    )
    yield Question(
        "Accept-Encoding: gzip, and whether the response is compressed",
        (Request(body(six), headers={"Accept-Encoding": "gzip"}),),
        of_success(
            lambda responses: Observation(
                {"content encoding": responses[0].headers.get("content-encoding", "none")},
                {"transfer-encoding": responses[0].headers.get("transfer-encoding", "none")},
            )
        ),
        SERVICE,
    )

    @of_success
    def of_duplicates(responses: Sequence[Response]) -> Observation:
        once, twice = responses
        return Observation({"billed twice": obs.yes(twice.tokens == 2 * once.tokens)})

    yield Question(
        "A duplicate text in a request: whether it is billed twice",
        (embed([TEXT]), embed([TEXT, TEXT])),
        of_duplicates,
        RULES,
    )


def _caps() -> Iterator[Question]:
    for model in MODELS.values():
        cap = model.texts_per_request

        def observe(responses: Sequence[Response]) -> Observation:
            accepted, rejected = responses
            return Observation(
                {
                    **obs.outcome(accepted, "cap:"),
                    **obs.outcome(rejected, "cap + 1:"),
                    "named cap": obs.cap_named(rejected),
                }
            )

        yield Question(
            f"{model.name}: {cap} texts in a request, and {cap + 1}",
            (embed(["a"] * cap, model.name), embed(["a"] * (cap + 1), model.name)),
            observe,
            MODEL_TABLE,
        )


def _texts() -> Iterator[Question]:
    yield _error_question("An empty text", embed([""]), certainty="unknown")
    yield _error_question("A single space", embed([" "]), certainty="unknown")
    yield _error_question("Other whitespace", embed(["\n\u3000\t"]), certainty="unknown")
    yield _error_question("An empty text among others fails the whole request", embed(["a", ""]))
    yield _error_question(f"An empty text for {V2}", embed([""], V2), certainty="unknown")
    yield _error_question("null instead of a text", embed([None]))
    yield _error_question("An object instead of a text", embed([{"text": "a"}]))
    yield _error_question("Token ids instead of a text", embed([[1820, 9987]]))
    yield _error_question("A number among texts", embed(["a", 7]))
    yield _error_question("A text without a list", embed("a"), certainty="unknown")
    yield _error_question("An empty list", embed([]))
    yield _error_question("No texts", Request({"model": V4, "input": {}, "parameters": {}}))
    yield _error_question("No input", Request({"model": V4, "parameters": {}}))


def _parameters() -> Iterator[Question]:
    bare = {"model": V4, "input": {"texts": ["a"]}}
    yield _error_question("`parameters` absent", Request(bare), NATIVE)
    yield _error_question(
        "`parameters` null", Request({**bare, "parameters": None}), NATIVE, certainty="unknown"
    )
    yield Question("`parameters` empty", (embed(["a"]),), outcomes(), NATIVE)
    yield Question(
        "Parameters that are null",
        (embed(["a"], dimension=None, text_type=None, output_type=None, instruct=None),),
        outcomes(),
        NATIVE,
        certainty="unknown",
    )
    yield Question(
        "Unknown parameters",
        (embed(["a"], dimensions=64, kwargs={"text_type": "query"}),),
        of_success(lambda responses: Observation({"vector": obs.length(responses[0])})),
        NATIVE,
        certainty="unknown",
    )
    yield Question(
        f"`dimension` sent to {V2}",
        (embed(["a"], V2, dimension=512),),
        of_success(lambda responses: Observation({"vector": obs.length(responses[0])})),
        RULES,
        certainty="one source",
    )
    yield _error_question(f"{V4}: an unsupported dimension", embed(["a"], dimension=100))
    yield _error_question(
        f"{V3}: a dimension that only {V4} supports", embed(["a"], V3, dimension=2048)
    )
    yield _error_question(
        "A dimension that is a string", embed(["a"], dimension="512"), certainty="unknown"
    )
    yield _error_question("A dimension of 0", embed(["a"], dimension=0))
    yield _error_question("An unknown text_type", embed(["a"], text_type="passage"), NATIVE)
    yield _error_question("An unknown output_type", embed(["a"], output_type="both"), NATIVE)
    yield _error_question(
        f"Sparse vectors of {V2}", embed(["a"], V2, output_type="dense&sparse"), NATIVE
    )
    yield _error_question(
        f"instruct sent to {V3}", embed(["a"], V3, text_type="query", instruct=INSTRUCT), NATIVE
    )
    yield _error_question(
        "instruct that is not a string", embed(["a"], text_type="query", instruct=7), NATIVE
    )


def _access() -> Iterator[Question]:
    valid = body(["a"])
    yield _error_question("An unknown model", embed(["a"], "text-embedding-v0"))
    yield _error_question("No model", Request({"input": {"texts": ["a"]}, "parameters": {}}))
    yield _error_question("A wrong key", Request(valid, key="wrong"))
    yield _error_question("A wrong key and a body that is not JSON", Request(b"{", key="wrong"))
    yield _error_question("No Authorization header", Request(valid, key="none"))
    yield Question(
        "`bearer` in lower case", (Request(valid, scheme="bearer"),), outcomes(), SERVICE
    )
    yield _error_question(
        "An unknown workspace",
        Request(valid, headers=UNKNOWN_WORKSPACE),
        certainty="unknown",
    )
    yield _error_question("An unknown path", Request(valid, path="/services/embeddings/none"))
    yield _error_question("GET instead of POST", Request(b"", method="GET"))
    yield _error_question("A body that is not JSON", Request(b"{"))
    yield _error_question("A body that is not an object", Request([1]))
    # The body is large because of a parameter, so it costs one token if it is accepted.
    large = {**valid, "parameters": {"unknown": "a" * (16 * 1024 * 1024)}}
    yield _error_question("A body above 16 MiB", Request(large, max_tokens=8, timeout=180))


def _long_texts() -> Iterator[Question]:
    yield Question(
        f"{FLASH}: a request of 4,700 tokens, reported to hang above that",
        (Request(body([_words(235)] * 20, FLASH), max_tokens=5_000),),
        outcomes(),
        RULES,
        certainty="guess",
    )

    def observe(responses: Sequence[Response]) -> Observation:
        shape = obs.error_shape(responses[0])
        return Observation({**shape, "named limit": obs.length_named(responses[0])})

    for model, count in ((V2, 2_100), (V4, 8_300), (V3, 8_300)):
        request = Request(body([_words(count)], model), max_tokens=count + 100)
        yield Question(f"{model}: a text of {count:,} tokens", (request,), observe, RULES)


def _burst() -> Question:
    def observe(responses: Sequence[Response]) -> Observation:
        throttled = [response for response in responses if response.status == 429]
        codes = sorted({response.code for response in throttled})
        waits = sorted({response.headers.get("retry-after", "absent") for response in throttled})
        return Observation(
            {"codes": ", ".join(codes), "Retry-After": ", ".join(waits)},
            {
                "throttled": f"{len(throttled)} of {len(responses)}",
                "headers of a 429": ", ".join(sorted(throttled[0].headers)) if throttled else "",
                "messages": " | ".join(sorted({response.message for response in throttled})),
                "retry-after-ms": ", ".join(
                    sorted(
                        {response.headers.get("retry-after-ms", "absent") for response in throttled}
                    )
                ),
            },
        )

    request = Request(body(["a"], dimension=64), max_tokens=4)
    return Question(
        "A burst: the code of a 429, and whether it has Retry-After",
        (request,),
        observe,
        QUOTA,
        certainty="unknown",
        burst=_BURST,
    )
