import pytest

from qwen_embed.emulator import Emulator

from .calls import KEY


@pytest.fixture
def service():
    with Emulator(api_key=KEY) as service:
        yield service
