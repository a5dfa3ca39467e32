"""LangChain's own standard suites, run against the emulator."""

from __future__ import annotations

import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_qwen_embed import QwenEmbeddings
from tests.support.interfaces import API_KEY


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self):
        return QwenEmbeddings

    @property
    def embedding_model_params(self):
        return {"api_key": API_KEY}

    @property
    def init_from_env_params(self):
        return (
            {
                "DASHSCOPE_API_KEY": "sk-env",
                "DASHSCOPE_REGION": "intl",
                "DASHSCOPE_WORKSPACE": "ws",
            },
            {},
            {"api_key": "sk-env", "region": "ap-southeast-1", "workspace": "ws"},
        )


class TestIntegration(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _service(self, service):
        self.service = service

    @property
    def embeddings_class(self):
        return QwenEmbeddings

    @property
    def embedding_model_params(self):
        return {"api_key": API_KEY, "base_url": self.service.native_url}
