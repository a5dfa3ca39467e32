"""Options of other embedding classes that do not exist here, and what to do instead.

Those that exist here under another name are aliases; see `qwen_embed.config.settings.ALIASES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_ONLY_TEXT = "texts are sent as they are, never as token ids. Omit it"
_OWN_CLIENT = "pass an SDK client that has it, such as client=openai.OpenAI(...)"
_AZURE = "Azure is not supported"
_BY_METHOD = "queries and documents are distinguished by the method that is called. Omit it"
_NO_OTHERS = "no other parameters are sent. Omit it"
_BATCH_SIZE = "batch_size is the number of texts per request; omit it for the model's limit"
_RETRY_WAITS = "the waits between retries follow the service's responses; max_retries limits them"

_INSTEAD = {
    "text_type": _BY_METHOD,
    "check_embedding_ctx_length": f"{_ONLY_TEXT}; for long texts see long_text",
    "embedding_ctx_length": f"{_ONLY_TEXT}; for long texts see long_text",
    "tiktoken_enabled": _ONLY_TEXT,
    "tiktoken_model_name": _ONLY_TEXT,
    "allowed_special": _ONLY_TEXT,
    "disallowed_special": _ONLY_TEXT,
    "encoding_format": "the encoding of numbers is chosen automatically. Omit it",
    "model_kwargs": _NO_OTHERS,
    "additional_kwargs": _NO_OTHERS,
    "skip_empty": "with empty_text='zero' empty texts get a vector of zeros",
    "mode": _BY_METHOD,
    "embed_batch_size": _BATCH_SIZE,
    "max_batch_size": _BATCH_SIZE,
    "retry_min_seconds": _RETRY_WAITS,
    "retry_max_seconds": _RETRY_WAITS,
    "reuse_client": "connections are always reused. Omit it",
    "openai_proxy": f"set HTTPS_PROXY, or {_OWN_CLIENT}",
    "openai_organization": _OWN_CLIENT,
    "organization": _OWN_CLIENT,
    "headers": _OWN_CLIENT,
    "default_headers": _OWN_CLIENT,
    "default_query": _OWN_CLIENT,
    "http_client": _OWN_CLIENT,
    "http_async_client": _OWN_CLIENT,
    "async_http_client": _OWN_CLIENT,
    "async_client": "sync and async code share one client: pass it as client",
    "deployment": _AZURE,
    "openai_api_type": _AZURE,
    "openai_api_version": _AZURE,
    "api_version": _AZURE,
    "embeddings_cache": "LlamaIndex's cache is not used here; set cache='folder'",
}

_DEFAULT_HERE: Mapping[str, Collection[Any]] = {
    # Values that other classes need in order to do what this package does by default.
    "request_timeout": (None,),
    "timeout": (None,),
    "text_type": ("document",),
    "check_embedding_ctx_length": (False,),
    "tiktoken_enabled": (False,),
    "encoding_format": ("float", "base64"),
    "model_kwargs": ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}),
    "additional_kwargs": ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}),
    "skip_empty": (False,),
    "reuse_client": (True,),
    "openai_proxy": (None, ""),
    "openai_organization": (None,),
    "organization": (None,),
    "headers": (None,),
    "default_headers": (None,),
    "default_query": (None,),
    "http_client": (None,),
    "http_async_client": (None,),
    "async_http_client": (None,),
    "async_client": (None,),
    "embeddings_cache": (None,),
}


def without_foreign(options: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return options without those of other classes whose value is the default behaviour here.

    Args:
        options: Options by name.
        known: Names of options that exist here.

    Raises:
        ValueError: If other options of such classes are left; it says what to do instead.

    Example:
        >>> without_foreign({"check_embedding_ctx_length": False, "model": "m"}, {"model"})
        {'model': 'm'}
    """
    kept = {
        name: value
        for name, value in options.items()
        if value not in _DEFAULT_HERE.get(name, ()) or (name in _INSTEAD and name in known)
    }
    messages = [
        f"{name}: {_INSTEAD[name]}." for name in kept if name in _INSTEAD and name not in known
    ]
    if messages:
        raise ValueError(" ".join(messages))
    return kept
