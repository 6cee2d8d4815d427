"""Sizes in bytes of HANet's GPU kernels, translated for a compute capability, as JSON; needs no GPU."""

import json
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pylon.models.hanet.gpu import kernels

POINTERS = {
    "convolve": ("features", "weights", "biases", "results"),
    "features_gradient": ("gradients", "weights", "results"),
    "weights_gradient": ("features", "gradients", "results"),
}
FIXED = {"PIXELS": 64, "GROUPS": 8, "STEPS": 64}
FLOAT32 = {"weights", "biases"}


def size(name: str, kind: str, capability: int) -> int:
    function = getattr(kernels, name)
    names = function.arg_names
    signature, fixed, aligned = {}, {}, {}
    for place, argument in enumerate(names):
        if argument in POINTERS[name]:
            always = argument in FLOAT32 or (name == "weights_gradient" and argument == "results")
            signature[argument] = "*fp32" if always else f"*{kind}"
            aligned[place,] = [["tt.divisibility", 16]]
        elif argument in FIXED:
            signature[argument] = "constexpr"
            fixed[place,] = FIXED[argument]
        else:
            signature[argument] = "i32"
    source = ASTSource(fn=function, signature=signature, constexprs=fixed, attrs=aligned)
    return len(triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"])


def main() -> None:
    found = {
        f"{name} {kind}": size(name, kind, int(sys.argv[1])) for name in POINTERS for kind in ("fp32", "bf16")
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
