"""Lines of code that a user writes for a task, without blank lines, comments and docstrings."""

import ast
import io
import tokenize
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "configs" / "examples"
PEERS = REPOSITORY / "benchmarks" / "examples" / "peers"
# Datasets, models and what they consist of: the peers import them too.
SHARED = {
    "image_classification": {"GLYPHS", "Digits", "Classifier"},
    "tabular": {"OFFSETS", "Table", "Regressor"},
    "text": {"KIND", "UNKIND", "OTHER", "VOCABULARY", "Sentences", "_sentence", "padded", "Classifier"},
    "two_models": {"SECTORS", "Ring", "Pair", "_cells"},
}
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def lines_of_example(name: str) -> int:
    """Of an example, without what is shared."""
    return code_lines((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"), SHARED[name])


def lines_of_peer(trainer: str, name: str) -> int | None:
    """Of a peer; None if there is none."""
    path = PEERS / f"{trainer}_{name}.py"
    return code_lines(path.read_text(encoding="utf-8"), set()) if path.exists() else None


def code_lines(source: str, left_out: set[str]) -> int:
    """How many lines of a module hold code.

    Args:
        source: of the module.
        left_out: names of its top level that do not count.
    """
    module = ast.parse(source)
    skipped = {
        line
        for node in ast.walk(module)
        if _is_docstring(node) or (node in module.body and _names(node) & left_out)
        for line in range(getattr(node, "lineno", 0), (getattr(node, "end_lineno", 0) or 0) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    held = {
        line
        for token in tokens
        if token.type not in _NO_CODE and token.type != tokenize.ENDMARKER
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(held - skipped)


def _is_docstring(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return False
    return isinstance(node.value.value, str)


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()
