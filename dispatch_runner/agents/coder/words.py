"""From a caller's words to identifiers, literals and docstrings: the only ways into generated code.

The words are data. An identifier is ASCII letters, digits and underscores; a literal is escaped by
Python itself; a docstring holds printable text that cannot end it.
"""

import keyword
import re
import unicodedata

RESERVED = frozenset({
    "str", "int", "float", "bool", "bytes", "list", "dict", "date", "datetime", "construct",
    "copy", "from_orm", "json", "parse_file", "parse_obj", "parse_raw", "schema", "schema_json",
    "update_forward_refs", "validate", "fields",
})  # fmt: skip
"""Types that the annotations of a model name, and attributes of pydantic's models."""
OF_PYDANTIC = re.compile(
    r"model_(?:config|fields|fields_set|computed_fields|extra|copy|construct|dump\w*|validate\w*|json_schema|"
    r"parametrized_name|post_init|rebuild)"
)
"""What a model has already."""
MAX_IDENTIFIER = 48

IRREGULAR_VERBS = {"does": "do", "goes": "go", "has": "have", "is": "be"}
IRREGULAR_PLURALS = {
    "criteria": "criterion", "indices": "index", "vertices": "vertex", "matrices": "matrix",
    "children": "child", "people": "person",
}  # fmt: skip
SINGULAR_ENDINGS = ("ss", "us", "is", "status", "address", "series")


def words_of(text: str) -> list[str]:
    """The ASCII words of a text, split where the case changes: `HTTPFetch_url2` is three."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.findall(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[A-Z]|[0-9]+", folded)


def identifier(text: str, fallback: str = "value") -> str:
    """A lower-case name that is safe as a field, variable or function; never empty."""
    name = "_".join(word.lower() for word in words_of(text))[:MAX_IDENTIFIER].strip("_")
    name = name or fallback
    if name[0].isdigit():
        name = f"n_{name}"
    if OF_PYDANTIC.fullmatch(name):
        name = name.removeprefix("model_") or fallback
        return identifier(f"the_{name}") if name[0].isdigit() else identifier(name)
    return f"{name}_" if keyword.iskeyword(name) or name in RESERVED else name


def pascal(text: str, fallback: str = "Unnamed") -> str:
    """A class-name part: `web page_fetch` gives `WebPageFetch`, `HTTP` gives `Http`."""
    parts = [word.capitalize() for word in words_of(text)]
    name = "".join(parts)[:MAX_IDENTIFIER]
    return name if name[:1].isalpha() else fallback + name


def constant(text: str, fallback: str = "VALUE") -> str:
    """A member of an enumeration: `in-progress` gives `IN_PROGRESS`."""
    name = identifier(text, fallback.lower()).upper().strip("_")
    return f"{name}_" if name in {"MRO", "NAME", "VALUE"} else name


def literal(value: object) -> str:
    """Python's own spelling of a JSON value, ASCII only."""
    return ascii(value)


def printable(text: str, limit: int) -> str:
    """One line of text that a person can read: whatever does not print becomes a space."""
    cut = text if len(text) <= limit else text[:limit].rpartition(" ")[0].rstrip(" ,;:(") + " ..."
    return " ".join("".join(c if c.isprintable() else " " for c in cut).split())


def docstring(text: str) -> str:
    """A docstring's inside: printable lines whose quotes and backslashes cannot end it."""
    safe = "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()
    return safe.replace("\\", "\\\\").replace('"', "'")


def sentence(text: str) -> str:
    """The text with a capital at its start and one full stop at its end."""
    bare = text.strip()
    stop = "" if bare.endswith("...") else "."
    bare = bare if not stop else bare.rstrip(".:;,")
    return f"{bare[:1].upper()}{bare[1:]}{stop}" if bare else ""


def base_verb(word: str) -> str:
    """The bare form of a third-person verb: `fetches` gives `fetch`, `queries` gives `query`."""
    lower = word.lower()
    if lower in IRREGULAR_VERBS:
        return IRREGULAR_VERBS[lower]
    if lower.endswith("ies") and len(lower) > 4:
        return lower[:-3] + "y"
    if re.search(r"(?:ch|sh|ss|x|zz)es$", lower):
        return lower[:-2]
    return lower[:-1] if lower.endswith("s") and not lower.endswith(("ss", "us")) else lower


def singular(word: str) -> str:
    """The singular of a plural noun: `queries` gives `query`, `status` stays."""
    if word in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[word]
    if word.endswith(SINGULAR_ENDINGS):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:ch|sh|ss|x)es$", word):
        return word[:-2]
    return word.removesuffix("s")


def is_plural(word: str) -> bool:
    if word in IRREGULAR_PLURALS:
        return True
    return word.endswith("s") and not word.endswith(SINGULAR_ENDINGS) and len(word) > 2
