"""How the page looks: styles, the few lines of script that move the slider, and pieces of HTML in which everything is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

TITLE = "restorekit"

STYLE = """
:root { --rk-line: color-mix(in srgb, currentColor 18%, transparent); }
.gradio-container { max-width: 1500px !important; padding: 0 1rem 2rem !important; }
footer { display: none !important; }
#rk-method input { text-overflow: ellipsis; padding-right: 1.8rem; }
.rk-head h1 { font-size: 1.5rem; font-weight: 650; margin: .9rem 0 .1rem; }
.rk-head p { margin: 0 0 .4rem; opacity: .75; }
.rk-stage { display: flex; flex-direction: column; gap: .8rem; min-height: 12rem; }
.rk-empty { display: grid; place-content: center; text-align: center; gap: .4rem; min-height: min(60vh, 30rem); padding: 2rem;
  border: 2px dashed var(--rk-line); border-radius: 12px; }
.rk-empty strong { font-size: 1.15rem; font-weight: 600; }
.rk-empty span { opacity: .7; }
.rk-fault { border: 1px solid #d33; border-left-width: 6px; border-radius: 8px; padding: .8rem 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; background: color-mix(in srgb, #d33 8%, transparent); }
.rk-compare { position: relative; margin: 0 auto; max-width: 100%; overflow: hidden; border-radius: 10px; background: #8884;
  touch-action: pan-y; }
.rk-compare img { display: block; width: 100%; height: 100%; margin: 0; border-radius: 0; object-fit: fill; user-select: none; }
.rk-compare .rk-before { position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.rk-compare i { position: absolute; top: 0; bottom: 0; left: var(--at); width: 3px; margin-left: -1.5px; background: #fff;
  box-shadow: 0 0 4px #000a; pointer-events: none; }
.rk-compare i::after { content: "‹ ›"; position: absolute; top: 50%; left: 50%; width: 2.4rem; height: 2.4rem; margin: -1.2rem;
  display: grid; place-content: center; border-radius: 50%; background: #fff; color: #222; font: 600 1.1rem/1 sans-serif;
  box-shadow: 0 1px 5px #0008; }
.rk-compare input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; }
.rk-compare input:focus-visible ~ i { outline: 3px solid #2684ff; }
.rk-compare b { position: absolute; top: .6rem; padding: .15rem .6rem; border-radius: 99px; background: #000a; color: #fff;
  font: 500 .8rem/1.4 sans-serif; pointer-events: none; }
.rk-compare b:first-of-type { left: .6rem; }
.rk-compare b:last-of-type { right: .6rem; }
.rk-facts { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .9rem; opacity: .8;
  overflow-wrap: anywhere; }
.rk-facts li { margin: 0; min-width: 0; }
.rk-stage a.rk-download { align-self: flex-start; max-width: 100%; padding: .6rem 1.1rem; border-radius: 8px; background: #1f6f54;
  color: #fff; font-weight: 600; text-decoration: none; overflow-wrap: anywhere; }
.rk-stage a.rk-download:hover { background: #185a44; }
.rk-stage details { font-size: .9rem; }
.rk-stage summary { cursor: pointer; opacity: .8; }
.rk-stage pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .6rem .8rem; border-radius: 8px; margin: .4rem 0 0;
  border: 1px solid var(--rk-line); }
"""

SCRIPT = """<script>
document.addEventListener("input", event => {
  if (event.target.matches?.(".rk-compare input")) event.target.parentNode.style.setProperty("--at", event.target.value + "%");
});
</script>"""

HEADER = f"""<div class="rk-head"><h1>{TITLE}</h1><p>Drop a picture, choose a method, compare, download.</p></div>"""

EMPTY = """<div class="rk-stage"><div class="rk-empty"><strong>No picture yet</strong>
<span>Drop one, or try the example. It goes nowhere else, and is deleted after an hour.</span></div></div>"""


def escape(text: object) -> str:
    """Text that stands for itself in HTML, and in the templates that Gradio makes of it."""
    escaped = html.escape(str(text))
    for sign in "{}$`\\":
        escaped = escaped.replace(sign, f"&#{ord(sign)};")
    return escaped


def fault(message: str) -> str:
    """A message about what went wrong."""
    return f'<div class="rk-stage"><div class="rk-fault" role="alert">{escape(message)}</div></div>'


def picture(address: str, size: tuple[int, int], name: str, facts: Iterable[str]) -> str:
    """A picture that has been uploaded."""
    return f'<div class="rk-stage">{_frame(size)}<img src="{escape(address)}" alt="{escape(name)}"></div>{_facts([name, *facts])}</div>'


def comparison(before: str, after: str, size: tuple[int, int], result: str, name: str, facts: Iterable[str], command: str) -> str:
    """Before and after under a slider, the download, and the command that does the same.

    Args:
        before: address of the preview of the picture.
        after: address of that of the result.
        size: width and height of both.
        result: address of the result.
        name: under which it is downloaded.
        facts: lines to show.
        command: the command.
    """
    return (
        f'<div class="rk-stage">{_frame(size)}'
        f'<img class="rk-after" src="{escape(after)}" alt="restored"><img class="rk-before" src="{escape(before)}" alt="before">'
        f'<input type="range" min="0" max="100" value="50" step="0.5" aria-label="how much of the picture before is shown">'
        f"<i></i><b>before</b><b>restored</b></div>"
        f'<a class="rk-download" href="{escape(result)}" download="{escape(name)}">Download {escape(name)}</a>'
        f"{_facts(facts)}<details><summary>The same on the command line</summary><pre>{escape(command)}</pre></details></div>"
    )


def _frame(size: tuple[int, int]) -> str:
    """The beginning of a box of the picture's proportions, as large as the window allows."""
    width, height = size
    return (
        f'<div class="rk-compare" style="--at: 50%; aspect-ratio: {width} / {height}; '
        f'width: min(100%, {max(width, 1000)}px, calc(82vh * {width / height:.4f}))">'
    )


def _facts(facts: Iterable[str]) -> str:
    return f'<ul class="rk-facts">{"".join(f"<li>{escape(fact)}</li>" for fact in facts)}</ul>'
