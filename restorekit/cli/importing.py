"""The command that makes model files of other people's checkpoints: ``import``."""

from __future__ import annotations

from pathlib import Path

import click

from restorekit.cli import batch, common
from restorekit.cli.common import debug_option, emit, examples, json_option, overwrite_option, parse_settings, set_option
from restorekit.errors import UserError

PATH = click.Path(path_type=Path)
SHOWN = 3
"""Names of dropped tensors that are printed for each reason."""


@click.command(
    "import",
    short_help="Make a model file of somebody else's checkpoint.",
    epilog=examples(
        "restorekit import latest_net_G.pth --as deblurgan/resnet9 -o model.safetensors",
        "restorekit import fpn_inception.h5 --as deblurgan/fpn -o inception.safetensors",
        "restorekit import latest_net_G.pth --as deblurgan/unet256 -o unet.safetensors --set skip=none",
        "restorekit restore photo.jpg -o restored.jpg --with model.safetensors",
    ),
)
@click.argument("file", metavar="FILE", type=PATH)
@click.option("--as", "name", metavar="NAME", required=True, help="The network that it is of. See: restorekit list generator")
@click.option("-o", "--out", metavar="OUT", type=PATH, required=True, help="The model file, .safetensors.")
@set_option
@overwrite_option
@json_option
@debug_option
def import_checkpoint(file: Path, name: str, out: Path, settings: tuple[str, ...], overwrite: bool, as_json: bool) -> None:
    """Make a model file of somebody else's checkpoint.

    FILE is a PyTorch checkpoint or a safetensors file. It is read without running anything in it. What it tells
    of the network, such as the number of blocks, is inferred; --set gives what it does not tell. Tensors that
    are missing, too many or of another shape are listed, and nothing is written.
    """
    values = parse_settings(settings)
    if out.suffix != ".safetensors":
        raise UserError(f"-o {out}: a model file ends in .safetensors, by which it is known; write -o {out.with_suffix('.safetensors')}")
    if out.exists() and file.exists() and out.samefile(file):
        raise UserError(f"-o {out}: the checkpoint itself; choose another name")
    batch.refuse_existing([out], "-o", overwrite=overwrite)
    from restorekit import importing

    made = importing.convert(file, name, values)
    made.model.save(out)
    parameters = sum(weight.numel() for weight in made.model.generator.parameters())
    if as_json:
        emit(
            {
                "model": str(out),
                "generator": made.part,
                "parameters": parameters,
                "told": made.told,
                "set": values,
                "assumed": made.assumed,
                "dropped": made.dropped,
                "sha256": made.sha256,
            }
        )
        return
    from restorekit.cli.describe import as_text

    rows = [("told by the file", _options(made.told)), ("set", _options(values)), ("not told, assumed", _options(made.assumed))]
    for why, tensors in made.dropped.items():
        more = f" and {len(tensors) - SHOWN} more" if len(tensors) > SHOWN else ""
        rows.append(("dropped", f"{', '.join(tensors[:SHOWN])}{more}: {why}"))
    click.echo(f"{out}  {made.part}, {as_text(parameters)} parameters")
    click.echo(common.columns([row for row in rows if row[1]]))
    click.echo(f"Use it: restorekit restore photo.jpg -o restored.jpg --with {out}")


def _options(options: object) -> str:
    from restorekit.cli.describe import as_text

    return ", ".join(f"{key}={as_text(value)}" for key, value in options.items()) if isinstance(options, dict) else ""
