"""The 64 fixed texts whose vectors prove that two engines are one encoder.

They are data: changing one changes what stored canaries mean, so it takes a new CANARY_VERSION.
Every eighth text (the quick check) is of another kind: plain, other script, code, over the window…
"""

from __future__ import annotations

CANARY_VERSION = 1

_PARAGRAPH = (
    "The keeper of the lighthouse wrote down the wind, the height of the sea and the ships that passed, "
    "first with ink and later with a machine that stamped the hour on a strip of paper. "
)

CANARY_TEXTS: tuple[str, ...] = (
    # 0-7
    "This is an example sentence",
    "Each sentence is converted",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "How do I reset my password?",
    "Das Wetter in Köln war gestern überraschend schön.",
    "El tren de las ocho llega siempre con retraso.",
    "Le café du coin ferme à midi le dimanche.",
    # 8-15
    "京都の秋は紅葉がとても美しいです。",
    "我们明天早上九点在车站门口见面。",
    "오늘은 비가 와서 집에서 책을 읽었습니다.",
    "Сегодня в библиотеке открылась выставка старых карт.",
    "Η θάλασσα ήταν ήρεμη και ο ουρανός καθαρός.",
    "ذهبت إلى السوق صباحا واشتريت بعض الفاكهة.",
    "הספרייה נפתחת בשעה שמונה בבוקר.",
    "आज बाजार में आम बहुत सस्ते मिल रहे हैं।",
    # 16-23
    "def add(a: int, b: int) -> int:\n    return a + b  # both must fit in 64 bits",
    "SELECT id, COUNT(*) FROM orders WHERE created >= '2024-01-01' GROUP BY id HAVING COUNT(*) > 3;",
    '{"id": 17, "tags": ["a", "b"], "nested": {"empty": null, "ok": true}}',
    '<p class="note">Fish &amp; chips: 5&nbsp;€</p>',
    "https://example.org/path/to/page?query=caf%C3%A9&lang=de#section-2",
    '#!/bin/sh\nset -eu\nfor f in *.txt; do wc -l "$f"; done',
    "Traceback (most recent call last): ValueError: invalid literal for int() with base 10: 'x1'",
    "E = mc², ∑ᵢ xᵢ² ≤ ∞, ∂f/∂x ≠ 0, α → β",
    # 24-31
    _PARAGRAPH * 40,
    _PARAGRAPH,
    _PARAGRAPH * 3,
    "alpha " * 700,
    "incomprehensibilities" * 30,
    "one two three four five six seven eight nine ten " * 12,
    "A dot. " * 120,
    "x" * 5000,
    # 32-39
    "😀 🚀 👩‍👩‍👧‍👦 🇩🇪 ❤️‍🔥",
    "0",
    "3.14159265358979323846",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "2024-02-29T23:59:60Z",
    "+49 (0)221 123-45 67",
    "$1,234,567.89",
    "0xDEADBEEF 0b1010 1e-308 NaN",
    # 40-47
    " \t leading and trailing white space \n\n ",
    "line one\nline two\r\nline three\rline four",
    "tab\tseparated\tvalues\there",
    "no\u00a0break\u2009thin\u200bzero\ufeffwidth",
    "!!!???...---***",
    ".",
    "“Quoted” ‘text’ — with dashes – and … ellipsis",
    "cafe\u0301 and caf\u00e9 are one word in two spellings",
    # 48-55
    "NOT EVERYTHING IN CAPITALS IS SHOUTED",
    "iPhone, eBay, LaTeX, macOS and GitHub",
    "naïve façade, Ångström, smørrebrød, žluťoučký kůň",
    "Straße STRASSE ﬁne ﬂow ① Ⅳ ½",
    "The drug lowered mean blood pressure by 12 mmHg (95% CI 9-15, p < 0.001) in 340 patients.",
    "The party of the first part shall indemnify the party of the second part against all claims.",
    "Preheat the oven to 180 degrees, whisk the eggs with the sugar and fold in the flour.",
    "query: what is the capital of France",
    # 56-63
    "Türkiye'nin en kalabalık şehri İstanbul'dur.",
    "Thành phố Hồ Chí Minh rất đông đúc vào giờ cao điểm.",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "Zażółć gęślą jaźń w słoneczny poniedziałek.",
    "Yesterday it rained. Today it rained. Tomorrow it will rain.",
    "Tomorrow it will rain. Today it rained. Yesterday it rained.",
    "It is not true that no one was not there.",
    "Mix of scripts: hello мир 世界 🌍 42 done",
)
