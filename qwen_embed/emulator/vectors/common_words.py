"""Lower-cased stop words and characters, which say little about a text.

They replace the word statistics that a trained model has learned.
"""

from __future__ import annotations

_WORDS = """
a about after all also an and any are as at be been but by can could did do does for from had has
have he her his how i if in into is it its just me more my no not of on one or our out she should so
some than that the their them then there these they this those to up us was we were what when where
which who why will with would you your au aux avec ce ces dans de des du elle en est et il je la le
les leur mais ne nous ou par pas pour qu que qui sa se ses son sont sur un une vous al como con del
el ella es esta este la las lo los mas más no o para pero por que se sin su sus un una y aber als am
auf aus bei bin das dass dem den der die ein eine einem einen einer er es für hat ich im ist kann
mit nach nicht oder sich sie sind und uns von vor war wie wir wird zu zum zur
"""
_PAIRS = """
一个 一些 为了 之后 之前 以及 但是 其中 只是 可以 可能 各种 因为 如何 如果 已经 应该 并且 当然
所以 所有 时候 没有 然后 现在 由于 的话 目前 自己 虽然 许多 还是 还有 通过 需要 非常
"""

COMMON_WORDS = frozenset(_WORDS.split())
COMMON_PAIRS = frozenset(_PAIRS.split())
COMMON_CHARACTERS = frozenset(
    "的了是在和有我他她它你们这那个不就都而及与着或之于也被把从对吗呢吧啊么什怎"
    "のはがをにでともへやかなたてしいるさすれっまだんこそ"
)
