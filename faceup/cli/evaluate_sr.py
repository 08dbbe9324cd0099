"""`faceup evaluate-sr`."""

from __future__ import annotations

from pathlib import Path

import click

from faceup.files import shown, whole_or_not_at_all
from faceup.runtime.device import DEVICES


@click.command("evaluate-sr")
@click.option("--hr", required=True, metavar="DIR|CSV|YAML", help="Original pictures.")
@click.option("--sr", multiple=True, required=True, metavar="NAME[:FILE]", help="SR backend; repeatable.")
@click.option("--scale", type=click.IntRange(2), default=4, show_default=True, help="Reduction and enlargement.")
@click.option("--size", type=click.IntRange(8), help="Reduce the originals to this shorter side first.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="CSV file for the numbers of every picture.")
def command(hr: str, sr: tuple[str, ...], scale: int, size: int | None, device: str, out: Path | None) -> None:
    """Reduce pictures, enlarge them with each SR backend, and print PSNR and SSIM with 95 % intervals."""
    from faceup.cli._progress import bars
    from faceup.evaluate_sr import evaluate_sr, summary
    from faceup.frames import write_csv

    with bars() as progress:
        measured = evaluate_sr(hr, sr, scale=scale, size=size, device=device, progress=progress)
    if out is not None:
        with whole_or_not_at_all(out) as path:
            write_csv(measured, path)
    for _, row in summary(measured).iterrows():
        click.echo(
            f"{row['sr']:12} PSNR {row['psnr']:.3f} dB [{row['psnr_low']:.3f}, {row['psnr_high']:.3f}]  "
            f"SSIM {row['ssim']:.4f} [{row['ssim_low']:.4f}, {row['ssim_high']:.4f}]  n = {row['pictures']}"
        )
    if out is not None:
        click.echo(f"wrote {shown(out)}")
