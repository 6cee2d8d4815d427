"""What can be checked of a configuration file before torch is imported, which takes seconds."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.keys import (
    COMMON_KEYS,
    EVALUATOR_KEYS,
    OPTIONAL_EVALUATOR_KEYS,
    OPTIONAL_TRAINER_KEYS,
    TRAINER_KEYS,
    absent_name,
    malformed_override,
    split_override,
    unknown_name,
)

# Classes of `pylon.runners`, as files name them, whose keys are known without importing them.
_KEYS_OF = {
    "SupervisedSingleTaskTrainer": TRAINER_KEYS | OPTIONAL_TRAINER_KEYS,
    "SupervisedSingleTaskEvaluator": EVALUATOR_KEYS | OPTIONAL_EVALUATOR_KEYS,
}


def check_source(path: Path, overrides: Sequence[str] = ()) -> None:
    """Check a configuration file and the overrides as far as their text shows it; nothing is executed.

    Keys are checked where `config` is one dict that is written out in the file and never changed there.

    Args:
        path: the file.
        overrides: KEY.PATH=VALUE each.

    Raises:
        ConfigError: the file is absent, is neither Python nor JSON by its name, or has a syntax error; an
            override has not this form; a key is misspelt.
    """
    if not path.is_file():
        problem = ConfigProblem("--config-filepath", repr(str(path)), "expected an existing file")
        raise ConfigError(path, [problem])
    if path.suffix not in {".py", ".json"}:
        raise ConfigError(path, [ConfigProblem("file", repr(path.suffix), "expected a .py or .json file")])
    problems = [malformed_override(override) for override in overrides if split_override(override) is None]
    if path.suffix == ".py":
        problems += _key_problems(_parsed(path), overrides)
    if problems:
        raise ConfigError(path, problems)


def _parsed(path: Path) -> ast.Module:
    try:
        content = path.read_bytes()
        # Finds more than the parser alone, such as a `return` outside of a function.
        compile(content, str(path), "exec", dont_inherit=True)
        return ast.parse(content, str(path))
    except SyntaxError as error:
        problem = ConfigProblem(f"line {error.lineno or '?'}", None, f"{type(error).__name__}: {error.msg}")
        raise ConfigError(path, [problem]) from error
    except ValueError as error:  # such as for a null byte, before CPython 3.12
        raise ConfigError(path, [ConfigProblem("file", None, f"is not Python: {error}")]) from error
    except OSError as error:
        raise ConfigError(path, [ConfigProblem("file", None, f"cannot be read: {error}")]) from error


def _key_problems(module: ast.Module, overrides: Sequence[str]) -> Iterator[ConfigProblem]:
    written = _written_config(module)
    if written is None:
        return
    accepted = _accepted(module, written)
    if accepted is not None:
        for key in sorted(written.keys() - accepted):
            yield ConfigProblem(key, None, unknown_name("the configuration", key, sorted(accepted)))
    key_paths = [parts[0] for parts in map(split_override, overrides) if parts is not None]
    for key_path in key_paths:
        set_as_a_whole = any(key_path.startswith(f"{other}.") for other in key_paths)
        problem = None if set_as_a_whole else _absent(written, key_path)
        if problem is not None:
            yield ConfigProblem(f"--set {key_path}", None, problem)


def _written_config(module: ast.Module) -> dict[str, ast.expr] | None:
    """The `config` of a file, if it is surely the dict that is written there; else None."""
    bound = [node for node in ast.walk(module) if _binds_or_reads_config(node)]
    for statement in module.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id="config") as target], value=ast.Dict() as value)
                | ast.AnnAssign(target=ast.Name(id="config") as target, value=ast.Dict() as value)
            ) if bound == [target]:
                return _entries(value)
    return None


def _binds_or_reads_config(node: ast.AST) -> bool:
    match node:
        case ast.Name(id="config") | ast.FunctionDef(name="config") | ast.ClassDef(name="config"):
            return True
        case ast.alias(name=name, asname=asname):
            return (asname or name) in {"config", "*"}
        case ast.Global(names=names):
            return "config" in names
        case ast.Name(id="globals" | "vars" | "exec"):
            return True
    return False


def _entries(node: ast.expr) -> dict[str, ast.expr] | None:
    """Key to value of a dict that is written out with text as keys; None for anything else."""
    if not isinstance(node, ast.Dict):
        return None
    entries: dict[str, ast.expr] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            return None
        entries[key.value] = value
    return entries


def _accepted(module: ast.Module, written: dict[str, ast.expr]) -> frozenset[str] | None:
    """The keys that the runner of a written configuration takes; None if that is a class of one's own."""
    runner = _entries(written["runner"]) if "runner" in written else None
    cls = (runner or {}).get("class")
    if not isinstance(cls, ast.Name):
        return None
    bound = [name for node in ast.walk(module) for name in _bound_names(node) if name[0] == cls.id]
    if len(bound) != 1 or bound[0][1] not in _KEYS_OF:
        return None
    return COMMON_KEYS | _KEYS_OF[bound[0][1]]


def _bound_names(node: ast.AST) -> list[tuple[str, str]]:
    """The names that a node binds, each with its name in `pylon.runners`, which is '' for others."""
    match node:
        case ast.ImportFrom(module=source, names=aliases):
            ours = source == "pylon.runners"
            return [(alias.asname or alias.name, alias.name if ours else "") for alias in aliases]
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
            return [(name, "")]
    return []


def _absent(written: dict[str, ast.expr], key_path: str) -> str | None:
    """What is wrong with a key path whose last key may be added, as far as the dicts are written out."""
    *parents, _ = key_path.split(".")
    container, walked = written, list[str]()
    for key in parents:
        if key not in container:
            return absent_name(".".join(walked) or "the configuration", key, list(container))
        walked.append(key)
        inner = _entries(container[key])
        if inner is None:
            return None
        container = inner
    return None
