"""Python source as HTML with a class for each kind of word; the colours are the style sheet's, light and dark."""

import re

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from . import formatting as fmt

__all__ = ["change_html", "code_html", "prose_html", "verbatim_html"]

# All names of classes begin with t-: the style sheet tells keywords, strings, numbers and comments by the letter after.
_FORMATTER = HtmlFormatter(nowrap=True, classprefix="t-")
_LEXER = PythonLexer(stripnl=False, ensurenl=False)
_KINDS = {"- ": "gone", "+ ": "come"}
_ISSUE = re.compile(r"(?<![\w/.-])([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)#(\d+)")
_ADDRESS = re.compile(r"https://[^\s&;,)]+[^\s&;,.)]")
_CODE = re.compile(r"`([^`]+)`")


def code_html(code: str) -> Markup:
    """Source for a <pre>, its words marked by kind; everything is escaped, and nothing is left out."""
    return Markup("\n") + _marked(fmt.clean(code))


def verbatim_html(text: str) -> Markup:
    """Plain text for a <pre>, which drops a first line end: there is one to drop."""
    return Markup("\n") + escape(fmt.clean(text))


def change_html(code: str) -> Markup:
    """A change line by line, each in an element of its own: class `gone` after `- `, `come` after `+ `, else `kept`."""
    lines = [
        Markup('<span class="line {}">{}{}\n</span>').format(_KINDS.get(line[:2], "kept"), line[:2], _marked(line[2:]))
        for line in fmt.clean(code).split("\n")
    ]
    return Markup("").join(lines)


def prose_html(text: str) -> Markup:
    """A sentence with `code` between backticks, and links for addresses and for issues such as owner/repository#12."""
    pieces = _CODE.split(fmt.clean(text))
    shown = [Markup("<code>{}</code>").format(piece) if i % 2 else _linked(piece) for i, piece in enumerate(pieces)]
    return Markup("").join(shown)


def _marked(code: str) -> Markup:
    return Markup(highlight(code, _LEXER, _FORMATTER).removesuffix("\n"))


def _linked(text: str) -> Markup:
    safe = str(escape(text))
    safe = _ADDRESS.sub(lambda found: f'<a href="{found[0]}">{found[0]}</a>', safe)
    return Markup(_ISSUE.sub(lambda f: f'<a href="https://github.com/{f[1]}/issues/{f[2]}">{f[0]}</a>', safe))
