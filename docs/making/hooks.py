"""What MkDocs calls: adds the pages that are made from the registry, the command line and the repository's own papers.

Nothing that a page says of a part is written here; it comes from the part. `papers` brings in READMEs, `parts` and `pictures` make a
page per part, `commands` one per command, `reference` the list of public names.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import commands
import papers
import parts
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.restorekit")

ROOT = Path(__file__).parents[2]

made: dict[str, str | bytes] = {}
"""Pages and pictures by their place in the site."""

linker = parts.Linker()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make every page, so that the navigation can name them."""
    made.clear()
    book = parts.book(cache=ROOT / "build" / "docs-pictures", say=log.info)
    linker.learn(book)
    command_pages = commands.pages()
    reference_pages = reference.pages()
    made.update(book.files)
    for pages in (command_pages, reference_pages):
        made.update(dict(pages.values()))
    brought = papers.pages(ROOT)
    made.update(brought.pages)
    config.nav += [
        {"Parts": book.nav},
        {"Scores": brought.nav["Scores"]},
        {"Plugins": brought.nav["Plugins"]},
        {
            "Reference": [
                {"Command line": [place if title == "restorekit" else {title: place} for title, (place, _) in command_pages.items()]},
                {"Python": [{title: place} for title, (place, _) in reference_pages.items()]},
            ]
        },
        {"About": brought.nav["About"]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Give MkDocs what was made, and the pictures that the pages show."""
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    shown = set()
    for file in files.documentation_pages():
        shown |= papers.shown(ROOT, file.src_uri, file.content_string)
    for path in sorted(shown):
        files.append(File.generated(config, papers.asset(ROOT, path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links into the repository at the pages and pictures that were made of what they name."""
    return papers.relink(ROOT, page.file.src_uri, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link the names of parts to their pages, and make lists of what interfaces declare."""
    return linker.link(reference.listed(html), page.file.src_uri)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Nothing of the machine that built the site stays in it."""
    if str(ROOT) in output or re.search(r"/(home|root|tmp)/", output):
        log.warning("%s names a path of this machine", page.file.src_uri)
    return output
