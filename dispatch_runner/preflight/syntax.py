"""Says what is wrong with a text that is not JSON: where, what, and how to mend it."""

import re
from collections.abc import Callable

_WIDTH = 76
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_WORD = re.compile(r"[^\W\d][\w-]*")
_SMART_QUOTES = "\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
_LITERALS = {
    "None": "null",
    "True": "true",
    "False": "false",
    "undefined": "null",
    "nil": "null",
    "NULL": "null",
    "nan": "null",
    "inf": "null",
}
_CUT_LITERALS = {
    word[:end] for word in ("true", "false", "null") for end in range(1, len(word))
} | {"-"}


def explain(text: str, position: int, parser_message: str) -> tuple[str, str | None]:
    """Message and hint for a syntax error that the parser saw at `position`.

    The message has the line and column (from 1), what is wrong, and the place in the text.
    """
    if parser_message.startswith("Unterminated string"):
        return _unterminated(text, position)
    if "trailing comma" in parser_message:  # from Python 3.13, at the comma; before, at the bracket
        position += 1
    if not parser_message.startswith("Invalid control character"):
        position = _skip_blank(text, position)
    what, hint = _cause(text, position, parser_message)
    line, column, shown = place(text, position)
    return f"line {line}, column {column}: {what}\n{shown}", hint


def place(text: str, position: int) -> tuple[int, int, str]:
    """Line and column (from 1) of a position, and its line with a caret below.

    At most some 80 characters of the line are shown, control characters as a middle dot.
    """
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text.count("\n", 0, position) + 1
    column = position - start + 1
    last = len(text) if end < 0 else end
    left = max(start, position - _WIDTH // 2)
    right = min(last, left + _WIDTH)
    before, after = "..." if left > start else "", "..." if right < last else ""
    excerpt = "".join(char if char.isprintable() else "\u00b7" for char in text[left:right])
    caret = " " * (len(before) + position - left) + "^"
    return line, column, f"  {before}{excerpt}{after}\n  {caret}"


def too_deep_at(text: str, limit: int) -> int:
    """Where the first bracket is that opens more than `limit` levels."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > limit:
                return token.start()
        elif token[0] in "]}":
            depth -= 1
    return 0


def _unterminated(text: str, position: int) -> tuple[str, str]:
    line, column, shown = place(text, position)
    message = f"line {line}, column {column}: a string starts here and never ends\n{shown}"
    hint = "the document was cut off, or a double quote is missing"
    return message, f'{hint}; inside a string write \\" for a quote'


def _cause(text: str, position: int, parser_message: str) -> tuple[str, str | None]:
    for rule in _RULES:
        if found := rule(text, position, parser_message):
            return found
    return parser_message[:1].lower() + parser_message[1:], None


def _prose(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    hint = "send only the JSON between the ``` lines"
    if text.startswith("```", position):
        return "a Markdown fence, not JSON", hint
    if text[:position].strip() or not text[position : position + 1].isalpha():
        return None
    if "```" in text[:100_000]:
        return "prose and a Markdown fence around the document", hint
    if text[position:].split(None, 1)[0] not in _LITERALS:
        return "prose, not JSON", 'send only the JSON: {"tasks": [...]}'
    return None


def _truncated(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    rest = text[position : position + 5]
    cut_literal = position + len(rest) == len(text) and rest in _CUT_LITERALS
    if rest and not cut_literal:
        return None
    missing = _missing_brackets(text)
    return (
        "the document ends too early",
        f"it was cut off; still open: {missing}" if missing else "it was cut off",
    )


def _missing_brackets(text: str) -> str:
    opened: list[str] = []
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            opened.append(token[0])
        elif token[0] in "]}" and opened:
            opened.pop()
    return "".join(opened[:20]) + ("..." if len(opened) > 20 else "")


def _after_the_end(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    if parser_message != "Extra data":
        return None
    if text[position] in "{[":
        hint = (
            'send one document: {"tasks": [...]} with all tasks in it (lines of JSON are not read)'
        )
        return "a second document after the first", hint
    if text[position] in "]}":
        return f"{text[position]!r} closes nothing", "remove it, or open it before"
    return "text after the end of the document", "send the JSON alone"


def _comma(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    if text[position] in "]}" and text[:position].rstrip().endswith(","):
        return f"a comma before {text[position]!r}", "remove the trailing comma"
    if text[position] == ",":
        return "a comma with no value before it", "remove it"
    return None


def _comment(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    if text.startswith(("//", "/*", "#"), position):
        return "a comment", 'JSON has no comments: remove it, or use "description"'
    return None


def _quotes(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    char = text[position]
    if char == "'":
        return "a single quote", 'JSON strings have double quotes: "text"'
    if char == "`":
        return "a backquote", 'JSON strings have double quotes: "text"'
    if char in _SMART_QUOTES:
        return f"a typographic quote {char}", 'JSON strings have straight double quotes: "text"'
    return None


def _in_string(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    if parser_message.startswith("Invalid control character"):
        char = text[position]
        name = {"\n": "a line break", "\t": "a tab", "\r": "a carriage return"}.get(
            char, f"the control character U+{ord(char):04X}"
        )
        escape = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\u{ord(char):04x}")
        return f"{name} inside a string", f"write {escape}, or close the string before"
    if parser_message.startswith("Invalid \\"):
        return "a backslash that escapes nothing", "write \\\\ for a backslash"
    return None


def _nul(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    if text[position] == "\0":
        return "a NUL byte", "write the document as UTF-8 text, without NUL bytes"
    if text[position] in "\ufeff\u00a0\u200b\u2028\u2029":
        return f"an invisible character U+{ord(text[position]):04X}", "remove it"
    return None


def _word(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    match = _WORD.match(text, position)
    if match is None:
        return None
    word = match[0][:40]
    if "property name" in parser_message:
        return f"the key {word!r} has no quotes", f'write "{word}"'
    if word in _LITERALS:
        return f"{word!r} is not JSON", f"write {_LITERALS[word]}"
    if text[:position].rstrip().endswith('"'):
        return "text after the end of a string", 'a quote inside a string is written \\"'
    if parser_message.startswith("Expecting value"):
        return f"the word {word!r} has no quotes", f'write "{word}"'
    return None


def _number(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    char, before = text[position], text[position - 1 : position]
    if parser_message.startswith("Expecting value") and char in "+.-":
        return f"no number starts with {char!r}", "write 0.5 for .5, 5 for +5"
    if "delimiter" in parser_message and before.isdigit() and (char.isdigit() or char in "._xX"):
        return "a malformed number", "no leading zeros, no 5., no 0x5, no 1_000"
    return None


def _delimiter(text: str, position: int, parser_message: str) -> tuple[str, str] | None:
    char = text[position]
    if "':' delimiter" in parser_message:
        return "a colon is missing after a key", 'write "key": value'
    if "',' delimiter" not in parser_message:
        return None
    if char in "]}":
        return f"{char!r} closes a bracket of the other kind", "a bracket is missing before it"
    return "a comma is missing", 'separate values by commas; a quote inside a string is written \\"'


_RULES: tuple[Callable[[str, int, str], tuple[str, str] | None], ...] = (
    _truncated,
    _prose,
    _after_the_end,
    _in_string,
    _comma,
    _comment,
    _quotes,
    _nul,
    _word,
    _number,
    _delimiter,
)


def _skip_blank(text: str, position: int) -> int:
    """The parsers of some Python versions point at the blanks before the culprit."""
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
