"""The page itself: what is on it and what happens when something on it is changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from restorekit import photos
from restorekit.errors import UserError
from restorekit.interfaces import Iteration
from restorekit.ui import look, work
from restorekit.ui.forms import OWN_MODEL, Catalogue, Field, Offer
from restorekit.ui.guard import RESULT, Limits
from restorekit.ui.store import Store
from restorekit.ui.work import Rules, Upload, Wish

LONGEST_NAME = 200

LOOKS = threading.BoundedSemaphore(2)
"""Uploads that are opened at a time; each takes the memory of its pixels."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Desk:
    """What the page works with.

    Attributes:
        catalogue: what is offered.
        store: where files are.
        limits: what a visitor may ask.
        rules: what holds for every picture.
        queue: pictures that wait at most.
    """

    catalogue: Catalogue
    store: Store
    limits: Limits
    rules: Rules
    queue: int


@dataclass(frozen=True)
class Controls:
    """The components that a picture's restoration is made from."""

    picture: gr.File
    method: gr.Dropdown
    model: gr.File
    psf: gr.File
    mask: gr.File
    references: gr.File
    strength: gr.Slider
    seed: gr.Number
    ensemble: gr.Checkbox
    form: gr.Dropdown
    strip: gr.Checkbox
    groups: Mapping[str, gr.Group]
    fields: Mapping[tuple[str, str], Any]

    def inputs(self) -> set[Any]:
        """All of them that have a value."""
        plain = (self.picture, self.method, self.model, self.psf, self.mask, self.references, self.strength, self.seed)
        return {*plain, self.ensemble, self.form, self.strip, *self.fields.values()}


def build(desk: Desk) -> gr.Blocks:
    """The page, ready to be served."""
    offers = desk.catalogue.offers
    first = next(iter(offers))
    with gr.Blocks(analytics_enabled=False, title=look.TITLE, fill_width=True) as blocks:
        gr.HTML(look.HEADER)
        with gr.Row():
            with gr.Column(scale=2, min_width=340):
                controls, example, go, stop = _controls(desk, first)
            with gr.Column(scale=5, min_width=320):
                view = gr.HTML(look.EMPTY, elem_id="rk-view")
        _events(desk, controls, view, example, go, stop)
    blocks.queue(max_size=desk.queue, default_concurrency_limit=1, api_open=False)
    return blocks


def _controls(desk: Desk, first: str) -> tuple[Controls, gr.Button, gr.Button, gr.Button]:
    offers = desk.catalogue.offers
    limit = f"up to {desk.limits.upload / 2**20:.0f} MB and {desk.rules.pixels / 1e6:g} megapixels"
    picture = gr.File(label=f"Picture, {limit}", file_count="single", height=170, elem_id="rk-picture")
    example = gr.Button("Try an example", size="sm", elem_id="rk-example")
    choices = [(f"{name} — {offer.summary}" if offer.summary else name, name) for name, offer in offers.items()]
    method = gr.Dropdown(choices, value=first, label="Method", filterable=False, elem_id="rk-method")
    uses = offers[first].uses
    model = gr.File(label="Model file (.safetensors)", height=150, visible=first == OWN_MODEL, elem_id="rk-model")
    psf = gr.File(label="Blur kernel: .npy, or a picture of it", height=150, visible="psf" in uses, elem_id="rk-psf")
    mask = gr.File(label="Damaged area: a picture, white = missing", height=150, visible="mask" in uses, elem_id="rk-mask")
    references = gr.File(
        label="Reference pictures, such as a style", file_count="multiple", height=150, visible="reference" in uses, elem_id="rk-reference"
    )
    go = gr.Button("Restore", variant="primary", elem_id="rk-go")
    stop = gr.Button("Stop, and keep the best so far", size="sm", visible=False, elem_id="rk-stop")
    groups: dict[str, gr.Group] = {}
    fields: dict[tuple[str, str], Any] = {}
    with gr.Accordion("Options of the method", open=False, elem_id="rk-options"):
        for name, offer in offers.items():
            with gr.Group(visible=name == first) as groups[name]:
                for field in offer.fields:
                    fields[name, field.name] = _component(field)
                if offer.left or not offer.fields:
                    gr.HTML(f'<p class="rk-left">{look.escape(_left(offer))}</p>', padding=True)
    with gr.Accordion("More", open=False, elem_id="rk-more"):
        strength = gr.Slider(
            0, 1, 1, step=0.05, label="Strength", info="share of the result; the rest is the picture", elem_id="rk-strength"
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, info="same seed, same result", elem_id="rk-seed")
        ensemble = gr.Checkbox(False, label="Mean over flips and rotations", info="eight times the work")
        forms = {suffix: form for suffix, form in photos.FORMATS.items() if suffix not in (".jpeg", ".tiff", ".heif")}
        form = gr.Dropdown([("as it came", ""), *((f, s) for s, f in forms.items())], value="", label="Format", elem_id="rk-format")
        strip = gr.Checkbox(False, label="Leave out EXIF, XMP and resolution", info="the colour profile stays")
        if desk.catalogue.missing:
            lines = "; ".join(f"{name} {reason}" for name, reason in desk.catalogue.missing.items())
            gr.HTML(f"<p>{look.escape('Not here: ' + lines)}</p>", padding=True)
    controls = Controls(picture, method, model, psf, mask, references, strength, seed, ensemble, form, strip, groups, fields)
    return controls, example, go, stop


def _left(offer: Offer) -> str:
    if not offer.left:
        return "This method has no options."
    return f"Left at their defaults: {', '.join(offer.left)}. The command line sets them with --set."


def _component(field: Field) -> Any:
    """A field of the schema as Gradio shows it."""
    words = f"{field.help} ({field.type})".strip()
    common = {"label": field.name, "info": words}
    if field.kind == "switch":
        return gr.Checkbox(bool(field.default), **common)
    if field.kind in ("choice", "part"):
        return gr.Dropdown(list(field.labels), value=field.shown, **common)
    if field.kind == "slider":
        return gr.Slider(field.low, field.high, field.default, step=field.step, **common)
    if field.kind == "number":
        bounds = {"minimum": field.low, "maximum": field.high, "step": field.step}
        return gr.Number(field.default, precision=0 if field.whole else None, **bounds, **common)
    return gr.Textbox(field.shown, max_lines=3, **common)


def _events(desk: Desk, controls: Controls, view: gr.HTML, example: gr.Button, go: gr.Button, stop: gr.Button) -> None:
    offers = desk.catalogue.offers
    seconds = (controls.model, controls.psf, controls.mask, controls.references)

    def chosen(method: Any) -> list[Any]:
        uses = offers[str(method)].uses if str(method) in offers else frozenset()
        shown = [method == OWN_MODEL, "psf" in uses, "mask" in uses, "reference" in uses]
        return [gr.update(visible=one) for one in (*shown, *(name == method for name in controls.groups))]

    def looked(picture: Any, request: gr.Request) -> str:
        if not picture:
            return look.EMPTY
        return _shown(lambda: _look(desk, _visitor(desk, request), picture))

    def suggested(request: gr.Request) -> tuple[Any, str]:
        visitor = _visitor(desk, request)
        try:
            _, folder = desk.store.place(visitor)
            file = work.example(folder)
        except UserError as fault:
            return gr.update(), look.fault(str(fault))
        desk.store.brought(visitor, str(file))
        return str(file), _shown(lambda: _look(desk, visitor, {"path": str(file), "orig_name": file.name}))

    def restored(values: dict[Any, Any], request: gr.Request, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 - Gradio's way
        visitor = _visitor(desk, request)
        return _shown(lambda: _restore(desk, controls, visitor, values, progress))

    def stoppable(method: Any) -> Any:
        return gr.update(visible=str(method) in offers and offers[str(method)].iterative)

    def stopped(request: gr.Request) -> None:
        desk.store.stop(_visitor(desk, request)).set()

    # The restoration alone waits in the queue. Gradio's page closes the stream of the queue's messages when the last event is
    # through, and one that joins at that moment is never heard of again: Restore, pressed while the upload is shown, did nothing.
    shut: dict[str, Any] = {"api_visibility": "private", "preprocess": False}
    quick: dict[str, Any] = {**shut, "queue": False}
    controls.method.change(chosen, controls.method, [*seconds, *controls.groups.values()], show_progress="hidden", **quick)
    controls.picture.upload(looked, controls.picture, view, **quick)
    controls.picture.clear(lambda: look.EMPTY, None, view, show_progress="hidden", **quick)
    example.click(suggested, None, [controls.picture, view], **quick)
    shown = go.click(stoppable, controls.method, stop, show_progress="hidden", **quick)
    done = shown.then(restored, controls.inputs(), view, scroll_to_output=True, **shut)
    done.then(lambda: gr.update(visible=False), None, stop, show_progress="hidden", **quick)
    stop.click(stopped, None, None, show_progress="hidden", **quick)


def _visitor(desk: Desk, request: gr.Request) -> str:
    return str(request.request.cookies.get(desk.limits.cookie, "")) if request.request is not None else ""


def _shown(work_: Any) -> str:
    """What `work_` gives, or the message of what went wrong."""
    try:
        return str(work_())
    except UserError as fault:
        if fault.__cause__ is not None and not isinstance(fault.__cause__, UserError | OSError):
            log.error("a picture failed", exc_info=fault.__cause__)
        return look.fault(str(fault))


def _look(desk: Desk, visitor: str, picture: Any) -> str:
    upload = _upload(desk, visitor, picture)
    token, folder = desk.store.place(visitor)
    with LOOKS:
        file, size, facts = work.look(upload, folder, desk.rules)
    return look.picture(f"{RESULT}{token}/{file.name}", size, upload.name, facts)


def _restore(desk: Desk, controls: Controls, visitor: str, values: Mapping[Any, Any], progress: gr.Progress) -> str:
    wish = _wish(desk, controls, visitor, values)
    token, folder = desk.store.place(visitor)
    stop = desk.store.stop(visitor)
    stop.clear()
    progress(None, desc=f"restoring {wish.picture.name}")

    def listener(step: Iteration) -> bool:
        progress((step.step, step.steps), desc="restoring", unit="steps")
        return not stop.is_set()

    done = work.restore(wish, folder, desk.rules, listener)
    addresses = [f"{RESULT}{token}/{file.name}" for file in (done.before, done.after, done.file)]
    return look.comparison(addresses[0], addresses[1], done.size, addresses[2], done.name, done.facts, done.command)


def _wish(desk: Desk, controls: Controls, visitor: str, values: Mapping[Any, Any]) -> Wish:
    """What the values of the components ask for; they come from the browser as they are, and anything may be in them.

    Raises:
        UserError: no picture, or values that are not of their kind.
    """
    if not values[controls.picture]:
        raise UserError("no picture yet: drop one, or try the example")
    offer = desk.catalogue.offers.get(str(values[controls.method]))
    if offer is None:
        raise UserError("choose a method")
    own = {field: values[component] for (name, field), component in controls.fields.items() if name == offer.name}
    seed, strength, suffix = values[controls.seed] or 0, values[controls.strength], values[controls.form] or None
    if isinstance(seed, bool) or not isinstance(seed, int | float) or seed != int(seed) or seed < 0:
        raise UserError(f"seed: got {seed!r}; expected a whole number from 0")
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1:
        raise UserError(f"strength: got {strength!r}; expected a number from 0 to 1")
    if suffix is not None and suffix not in photos.FORMATS:
        raise UserError(f"format: got {suffix!r}; expected one of {' '.join(photos.FORMATS)}")

    def one(component: Any, wanted: bool) -> Upload | None:
        return _upload(desk, visitor, values[component]) if wanted and values[component] else None

    several = values[controls.references] if "reference" in offer.uses else None
    return Wish(
        picture=_upload(desk, visitor, values[controls.picture]),
        offer=offer,
        settings=offer.settings(own),
        model=one(controls.model, offer.name == OWN_MODEL),
        psf=one(controls.psf, "psf" in offer.uses),
        mask=one(controls.mask, "mask" in offer.uses),
        references=tuple(_upload(desk, visitor, file) for file in several or ()),
        seed=int(seed),
        strength=float(strength),
        self_ensemble=values[controls.ensemble] is True,
        suffix=suffix,
        strip=values[controls.strip] is True,
    )


def _upload(desk: Desk, visitor: str, value: Any) -> Upload:
    """A file as the browser names it: where it lies, which is checked, and how the person calls it."""
    if not isinstance(value, Mapping) or not isinstance(value.get("path"), str):
        raise UserError("the upload is not a file; drop it again")
    path = desk.store.upload(visitor, value["path"])
    called = value.get("orig_name")
    name = Path(called.replace("\\", "/")).name if isinstance(called, str) else ""
    return Upload(path, (name or path.name)[-LONGEST_NAME:])
