"""Why a document matched a query: the tokens that both sparse vectors share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwen_embed.sparse import SparseRow


@dataclass(frozen=True)
class SharedToken:
    """A token that a query and a document share, as `explain_match` returns it.

    Attributes:
        token: The service's token.
        index: Its index in the sparse vectors.
        query_value: Its value in the query's vector.
        document_value: Its value in the document's vector.

    Example:
        >>> SharedToken("wind", 7149, query_value=0.5, document_value=0.8).score
        0.4
    """

    token: str
    index: int
    query_value: float
    document_value: float

    @property
    def score(self) -> float:
        """The token's part of the dot product: the product of its two values."""
        return self.query_value * self.document_value


def shared_tokens(query: SparseRow, document: SparseRow) -> list[SharedToken]:
    """Return the tokens that both vectors have, the one with the highest score first.

    The sum of the scores is the dot product of the vectors.
    """
    in_document = dict(zip(document.indices, document.values, strict=True))
    shared = [
        SharedToken(token, index, value, in_document[index])
        for index, value, token in zip(query.indices, query.values, query.tokens, strict=True)
        if index in in_document
    ]
    return sorted(shared, key=lambda each: (-each.score, each.index))
