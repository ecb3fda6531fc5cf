"""Commands around models of trees: explain, export, import."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.errors import BadField
from .commands import _model, _print, _writable, scored

__all__ = ["explain", "export", "import_model"]


def explain(options: argparse.Namespace) -> int:
    from ..learn.trees.explained import explained

    return scored(explained(_model(options)), options)


def export(options: argparse.Namespace) -> int:
    from ..learn.trees.interchange.faces import export as write

    out = _writable(options.out, reads=[options.model])
    if not isinstance(out, Path):
        raise BadField("a model is exported to a file on this machine", where=options.out, todo="Name a local path.")
    told = write(_model(options), out, options.to)
    lines = [f"{told['trees']:,} trees written to {out} for {options.to} ({told['bytes']:,} bytes)", f"columns     {', '.join(told['columns'])}"]
    lines += [f"renamed     {name} is {new!r} there" for name, new in told["names"].items()]
    for name, values in told["categories"].items():
        shown = [f"{code} {'missing' if value is None else value}" for code, value in enumerate(values[:8])]
        lines.append(f"categories  {name}, by code: {', '.join(shown)}{', …' if len(values) > 8 else ''}")
    lines += [f"classes     {', '.join(f'{code} {name}' for code, name in enumerate(told['classes']))}"] if told["classes"] else []
    _print(told, options.json, "\n".join(lines))
    return 0


def import_model(options: argparse.Namespace) -> int:
    from ..learn.trees.interchange.faces import import_model as read

    out = _writable(options.out, reads=[options.file])
    model = read(options.file, target=options.target)
    model.save(out)
    told = {"model": str(out), "digest": model.digest, **model.made}
    text = f"model      {out}\ndigest     {model.digest}\nfrom       {model.made['imported_from']}, {model.made['imported_file']}, objective {model.made['objective']}"
    _print(told, options.json, text)
    return 0
