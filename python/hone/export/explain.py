"""Why an export fails: causes by what exporters say, the line of the model, and the cure."""

from __future__ import annotations

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Cause:
    """A row of the table in docs/export-failures.md."""

    key: str
    pattern: str  #: regular expression for what exporters say
    what: str
    cure: str


@dataclasses.dataclass
class Diagnosis:
    """A cause, and where it is."""

    exporter: str
    cause: str
    what: str
    cure: str
    line: str = ""  #: file:line: source
    operation: str = ""
    message: str = ""  #: what the exporter said, shortened

    def text(self) -> str:
        parts = [f"{self.exporter}: {self.what} [{self.cause}]"]
        if self.line:
            parts.append(f"  at {self.line}")
        if self.operation:
            parts.append(f"  operation: {self.operation}")
        if self.message:
            parts.append(f"  said: {self.message}")
        return "\n".join([*parts, f"  cure: {self.cure}"])


#: The first that fits counts: narrow patterns come before wide ones.
CAUSES: tuple[Cause, ...] = (
    Cause(
        "specialised-dim",
        r"ConstraintViolation|specialized|Not all values of|Constraints violated"
        r"|conflicts between user-specified ranges|runs at one size only"
        r"|inferred to be a constant|marked .* as dynamic but|Constant value was inferred",
        "the code fixes a dim that was to be dynamic",
        "replace the number by a size taken from a tensor (x.shape[i], or -1 in reshape and view);"
        " where the model itself has a fixed size (position tables, windows), leave the dim out of"
        " --dynamic, or state what it is a multiple of with NAME%STEP",
    ),
    Cause(
        "data-dependent-control-flow",
        r"[Dd]ata.dependent (expression|branch|control flow)|Dynamic control flow"
        r"|GuardOnDataDependentSymNode"
        r"|converting a tensor to a Python boolean",
        "Python's if, while or assert looks at the values of a tensor",
        "choose with torch.where, or with torch.cond where the branches are costly; count"
        " iterations by a size, not by values; drop checks from forward",
    ),
    Cause(
        "value-as-python-number",
        r"\.item\(\)|_local_scalar_dense|converting a tensor to a Python (number|integer|float)"
        r"|aten\.item|\.tolist\(\)|int\(\) argument",
        "a tensor's value becomes a Python number, which tracing freezes",
        "keep it a tensor (index, multiply, torch.arange with a size); a size that depends on"
        " values needs torch._check on its bounds, or padding to a fixed size and a mask",
    ),
    Cause(
        "value-from-iteration",
        r"Iterating over a tensor",
        "a Python loop over a tensor is unrolled as often as the example has rows",
        "work on the whole tensor at once, or use torch.nn.LSTM/GRU or a scan for recurrences",
    ),
    Cause(
        "numpy-in-forward",
        r"TracerWarning.*numpy|\.numpy\(\)|converting a tensor to a NumPy array|from_numpy"
        r"|Converting a tensor to a NumPy",
        "values leave PyTorch for numpy, which exporters cannot follow",
        "write the step with torch operations, or move it out of forward",
    ),
    Cause(
        "missing-operator",
        r"UnsupportedOperatorError|No ONNX function found|No decompositions? registered"
        r"|Exporting the operator|DispatchError|not supported",
        "the exporter has no ONNX form for an operation",
        "write it with operations that have one (docs/operators.md lists ONNX's), or register a"
        " translation (torch.onnx.export(custom_translation_table=...))",
    ),
    Cause(
        "unused-or-missing-input",
        r"missing \d+ required positional|unexpected keyword|takes \d+ positional",
        "the inputs are not those that forward takes",
        "give one --input for each argument of forward, in its order",
    ),
    Cause(
        "size-one-example",
        r"0/1 special|size of 1|specialization of 1",
        "a dynamic dim is 1 in the example, which exporters take for a constant",
        "give an example size of 2 or more",
    ),
    Cause(
        "wrong-at-other-sizes",
        r"fails at other sizes",
        "the exported graph has numbers in it that hold for the example's sizes only",
        "take sizes from tensors, not from Python numbers computed at another time; build masks and"
        " positions from x.shape inside forward",
    ),
)

_UNKNOWN = Cause(
    "unknown",
    "",
    "the exporter failed for a reason that is not in the table of causes",
    "read what it said; export parts of the model by themselves to narrow it down",
)

_ON_VALUES = ("data-dependent-control-flow", "value-as-python-number")
#: files that are not the user's code
NOT_USERS = re.compile(r"site-packages|dist-packages|lib/python3|<frozen|<string>|hone/export")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\w+)\n(?:\s*(?!File)(\S.*))?')
_CODE = re.compile(r"# File: (\S+?):(\d+) in (\w+), code: (.*)")
_TRACER = re.compile(r"(\S+\.py):(\d+): TracerWarning")
_OPERATION = re.compile(r"torch\.ops\.([\w.]+)|'?(aten[:.]+\w+(?:\.\w+)?)|(torchvision::\w+)")


def find_line(text: str) -> str:
    """The innermost line of the user's own code that a message shows."""
    frames = [m.groups() for m in _FRAME.finditer(text)]
    frames += [m.groups() for m in _CODE.finditer(text)]
    own = [f for f in frames if not NOT_USERS.search(f[0])]
    forward = [f for f in own if f[2] == "forward"]
    chosen = (forward or own)[-1:]
    for f in chosen:
        return f"{f[0]}:{f[1]}: {(f[3] or '').strip()}".rstrip(": ")
    tracer = _TRACER.search(text)
    return f"{tracer[1]}:{tracer[2]}" if tracer else ""


def find_operation(text: str) -> str:
    found = _OPERATION.findall(text)
    return next(filter(None, found[-1]), "") if found else ""


def _headline(text: str) -> str:
    """The line of a long message that says most."""
    lines = [re.sub(r"\x1b\[\d+m", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    for line in lines:
        if re.match(r"<class '|[\w.]*(Error|Exception|Violation|Warning)\b.*:", line):
            return line[:300]
    return lines[0][:300] if lines else ""


def diagnose(text: str, exporter: str) -> Diagnosis:
    """What an exporter's message means."""
    cause = next((c for c in CAUSES if re.search(c.pattern, text, re.IGNORECASE)), _UNKNOWN)
    line = find_line(text)
    if cause.key in _ON_VALUES:
        # Both end in a number taken from a tensor: the line tells which it is.
        is_branch = re.search(r": (if|elif|while|assert)\b", line)
        key = _ON_VALUES[0] if is_branch or "boolean" in text else _ON_VALUES[1]
        cause = next(c for c in CAUSES if c.key == key)
    return Diagnosis(
        exporter,
        cause.key,
        cause.what,
        cause.cure,
        line,
        find_operation(text),
        _headline(text),
    )


def table() -> str:
    """The causes as the Markdown table of docs/export-failures.md."""
    rows = ["| cause | what happens | the usual cure |", "|---|---|---|"]
    rows += [f"| `{c.key}` | {c.what} | {c.cure} |" for c in CAUSES]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
