"""The command that writes models for other programs: ``export``."""

from __future__ import annotations

from pathlib import Path

import click

from restorekit.cli import batch, common
from restorekit.cli.common import debug_option, emit, examples, json_option, overwrite_option
from restorekit.errors import UserError


@click.command(
    short_help="Write a model as ONNX, for other programs.",
    epilog=examples(
        "restorekit export runs/mine/model.safetensors -o model.onnx",
        "restorekit export deblurgan/denoise -o denoise.onnx",
        "restorekit export runs/dcgan-faces28/model.safetensors -o faces.onnx --json",
    ),
)
@click.argument("model", metavar="MODEL")
@click.option("-o", "--out", metavar="OUT", type=click.Path(path_type=Path), required=True, help="The ONNX file, .onnx.")
@overwrite_option
@json_option
@debug_option
def export(model: str, out: Path, overwrite: bool, as_json: bool) -> None:
    """Write a model's network as ONNX, for other programs.

    MODEL is a model file, its address, or the name of a method that comes with one, such as deblurgan/denoise.
    Height and width stay free, as far as the network's own rule allows; that rule, the channels, the scale and the
    recipe are in the file's metadata. Before anything is written ONNX Runtime and torch compute pictures of two sizes,
    and what they make must be the same. Networks that make pictures from latent vectors are exported as that: latent
    in, picture out. A method without a network, or one that searches for the blur step by step, cannot be exported.
    """
    if out.suffix != ".onnx":
        raise UserError(f"-o {out}: an ONNX file ends in .onnx; write -o {out.with_suffix('.onnx')}")
    if out.is_dir():
        raise UserError(f"-o {out}: a folder; give the name of a file in it, such as -o {out / 'model.onnx'}")
    batch.refuse_existing([out], "-o", overwrite=overwrite)
    from restorekit import exporting, methods

    method = methods.resolve(model)
    if method.restorer.model is None:
        raise UserError(f"{model}: a method without a network of its own that could be exported; name a model file (.safetensors)")
    made = exporting.export(method.restorer.model, out, what=model)
    if as_json:
        emit({"onnx": str(out), "inputs": made.inputs, "output": made.output, "differences": made.differences, "metadata": made.metadata})
        return
    megabytes = out.stat().st_size / 1e6
    click.echo(f"{out}  {made.metadata['restorekit.generator']}, {megabytes:.1f} MB")
    rows = [(name, " × ".join(map(str, shape))) for name, shape in (*made.inputs.items(), ("output", made.output))]
    told = ", ".join(f"{value:.1e} at {size.replace('x', '×')}" for size, value in made.differences.items())
    rows.append(("differs from torch by", told))
    click.echo(common.columns(rows))
