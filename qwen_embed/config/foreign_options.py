"""Options of other classes for these models: which mean nothing here, and what to do instead.

Names that mean something here are aliases; see `qwen_embed.config.settings.ALIASES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_ONLY_TEXT = "text is sent as it is, never as token ids. Leave it out"
_OWN_CLIENT = "bring a client that has it, such as client=openai.OpenAI(...)"
_AZURE = "Azure is not spoken here"

_ADVICE = {
    "text_type": "queries and documents are told apart by the method that is called. Leave it out",
    "check_embedding_ctx_length": f"{_ONLY_TEXT}; for texts that are too long see long_text",
    "embedding_ctx_length": f"{_ONLY_TEXT}; for texts that are too long see long_text",
    "tiktoken_enabled": _ONLY_TEXT,
    "tiktoken_model_name": _ONLY_TEXT,
    "allowed_special": _ONLY_TEXT,
    "disallowed_special": _ONLY_TEXT,
    "encoding_format": "how numbers come is chosen here. Leave it out",
    "model_kwargs": "no other parameters are sent. Leave it out",
    "additional_kwargs": "no other parameters are sent. Leave it out",
    "skip_empty": "empty_text='zero' gives empty texts a row of zeros",
    "mode": "queries and documents are told apart by the method that is called. Leave it out",
    "embed_batch_size": "batch_size is the size of a request; leave it out for the model's cap",
    "max_batch_size": "batch_size is the size of a request; leave it out for the model's cap",
    "retry_min_seconds": "waits follow the service's answers; max_retries bounds them",
    "retry_max_seconds": "waits follow the service's answers; max_retries bounds them",
    "reuse_client": "connections are always kept. Leave it out",
    "openai_proxy": f"set HTTPS_PROXY, or {_OWN_CLIENT}",
    "openai_organization": _OWN_CLIENT,
    "organization": _OWN_CLIENT,
    "headers": _OWN_CLIENT,
    "default_headers": _OWN_CLIENT,
    "default_query": _OWN_CLIENT,
    "http_client": _OWN_CLIENT,
    "http_async_client": _OWN_CLIENT,
    "async_http_client": _OWN_CLIENT,
    "async_client": "one client serves sync and async code: pass it as client",
    "deployment": _AZURE,
    "openai_api_type": _AZURE,
    "openai_api_version": _AZURE,
    "api_version": _AZURE,
    "embeddings_cache": "it is LlamaIndex's; cache='folder' is the one here",
}

_WITHOUT_EFFECT: Mapping[str, Collection[Any]] = {
    # What a program had to say elsewhere to get what it gets here anyway.
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
    """Return options without those of other classes that ask for what is done here anyway.

    Args:
        options: Options by name.
        known: Names that are options here.

    Raises:
        ValueError: For options of other classes that cannot be followed; it says what to do.

    Example:
        >>> without_foreign({"check_embedding_ctx_length": False, "model": "m"}, {"model"})
        {'model': 'm'}
    """
    kept = {
        name: value
        for name, value in options.items()
        if value not in _WITHOUT_EFFECT.get(name, ()) or (name in _ADVICE and name in known)
    }
    faults = [f"{name}: {_ADVICE[name]}." for name in kept if name in _ADVICE and name not in known]
    if faults:
        raise ValueError(" ".join(faults))
    return kept
