"""The validation report: one HTML file for people, complete in itself, the same bytes for the same outcomes."""

from collections.abc import Sequence
from html import escape

from stages.validate.outcomes import Example, Outcome, column_names, found, word

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --dim: #5b6675; --line: #d9dfe6; --back: #f6f8fa; --card: #fff;
  --good: #17713b; --good-back: #e2f4e8; --bad: #b3261e; --bad-back: #fdeceb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --dim: #9aa6b4; --line: #333c47; --back: #14181d;
  --card: #1c2229; --good: #6fd196; --good-back: #16301f; --bad: #ff8a80; --bad-back: #3a1a18; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .75rem; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
.verdict { padding: .9rem 1.1rem; border-radius: .5rem; font-weight: 600; font-size: 1.1rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.verdict.good { background: var(--good-back); } .verdict.bad { background: var(--bad-back); }
.facts { color: var(--dim); margin: .75rem 0 0; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--bad);
  border-radius: .4rem; padding: .8rem 1rem; margin: .75rem 0; }
.card p { margin: 0 0 .35rem; overflow-wrap: anywhere; } .card .what { font-weight: 600; }
.dim { color: var(--dim); }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { font-size: .85rem; color: var(--dim); } td.mark { width: 2.2rem; font-weight: 700; } td.seen { width: 30%; }
.example { display: inline-block; margin-left: .5rem; padding: 0 .5rem; border-radius: .3rem; font-size: .9rem;
  color: var(--dim); background: var(--back); }
"""
_LONGEST = 600


def html(outcomes: Sequence[Outcome], facts: Sequence[str]) -> str:
    """The report on `outcomes`: the verdict, the failed expectations with examples, then all by column.

    `facts` are what the reader must know to place it: the table, its size, the suite.
    """
    failed = [outcome for outcome in outcomes if not outcome.success]
    word_of = f"{len(failed):,} of {len(outcomes):,} expectations failed"
    verdict = f"Stopped: {word_of}" if failed else f"Passed: all {len(outcomes):,} expectations hold"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Data validation: {verdict}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        "<h1>Data validation</h1>",
        f'<div class="verdict {"bad" if failed else "good"}">{verdict}</div>',
        f'<p class="facts">{" · ".join(_text(fact) for fact in facts)}</p>',
        *(["<h2>What failed</h2>", *map(_card, failed)] if failed else []),
        *_sections(outcomes),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _card(outcome: Outcome) -> str:
    examples = "".join(_example(example) for example in outcome.examples)
    return (
        f'<div class="card"><p class="what">{_text(outcome.sentence)}</p>'
        f'<p><span class="bad">{_text(found(outcome))}</span>{examples}</p>'
        f'<p class="dim"><code>{_text(outcome.expectation.type)}</code> · {_text(outcome.expectation.origin)}</p></div>'
    )


def _example(example: Example) -> str:
    row = "" if example.row is None else f"row {example.row} "
    return f' <span class="example">{row}<code>{_text(word(example.value))}</code></span>'


def _sections(outcomes: Sequence[Outcome]) -> list[str]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(column_names(outcome) or "The whole table", []).append(outcome)
    lines = ["<h2>All expectations</h2>", "<table>"]
    for name, members in groups.items():
        lines.append(f'<tr><th colspan="3">{_text(name)}</th></tr>')
        lines += [_row(member) for member in members]
    return [*lines, "</table>"]


def _row(outcome: Outcome) -> str:
    mark = '<td class="mark good">✓</td>' if outcome.success else '<td class="mark bad">✗</td>'
    return f'<tr>{mark}<td>{_text(outcome.sentence)}</td><td class="seen dim">{_text(found(outcome))}</td></tr>'


def _text(text: str) -> str:
    return escape(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")
