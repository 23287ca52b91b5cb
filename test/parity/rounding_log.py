"""Every rounding that transformers makes, as it makes it.

A `RoundingLog` sees each ATen operation while the library's own, unchanged code runs. Whatever has a result of the
model's type and is no mere movement of data has rounded it; the result is kept under the module's path and a name, and
an operation that the tables below do not expect at this place is an error. In float64 the same log takes the library's
casts to float32 out (norms and softmax cast for every type), all but those of its rotary tables.
"""

from collections import defaultdict

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Operations whose results hold their inputs' numbers, or constants.
MOVES = set(
    """alias as_strided cat clone copy_ detach empty expand full index index_select lift_fresh masked_fill neg new_zeros permute
    reshape scalar_tensor select slice split squeeze stack t transpose unbind unsafe_split unsqueeze _unsafe_view view where zeros zeros_like
    arange fill_""".split()
)
CASTS = {torch.float16, torch.bfloat16}

CAP = [("div", "cap_share"), ("tanh", "cap_tanh"), ("mul", "capped")]
ROTARY = [(op, f"{part}_{name}") for part in "qk" for op, name in (("mul", "cos"), ("mul", "sin"), ("add", "rotated"))]


def expected(module, kind, implementation, half):
    """(operation, name) of what a module itself rounds, its children's roundings apart; None: not kept; "?": may be missing."""
    class_name = type(module).__name__
    gemma, norm = kind == "gemma2", class_name.endswith("RMSNorm")
    if norm and half:
        return [("_to_copy", "weighted")] if gemma else [("_to_copy", "normalized"), ("mul", "weighted")]
    if norm:
        start = [("pow", None), ("mean", None), ("add", None), ("rsqrt", "rsqrt"), ("mul", "normalized")]
        return [*start, *([("add", None)] if gemma else []), ("mul", "weighted")]
    if class_name.endswith("RotaryEmbedding"):
        return [("_to_copy", "cos"), ("_to_copy", "sin")]
    if class_name.endswith("Attention") and implementation == "eager":
        cap = CAP if getattr(module.config, "attn_logit_softcapping", None) else []
        softmax = ("_to_copy" if half else "_softmax", "probabilities")
        return [*ROTARY, ("bmm", "scores_raw"), ("mul", "scores"), *cap, ("add?", None), softmax, ("bmm", "output")]
    if class_name.endswith("Attention"):
        # The math kernel also returns its probabilities, which nobody reads; P·V goes on in float32.
        return [*ROTARY, ("_to_copy", None), ("_to_copy", "output")]
    if class_name.endswith("DecoderLayer"):
        return [("add", "attention_sum"), ("add", "mlp_sum")]
    if class_name.endswith("MLP"):
        return [("mul", "product")]
    if class_name.endswith("ForCausalLM"):
        return CAP if getattr(module.config, "final_logit_softcapping", None) else []
    if class_name.endswith("ScaledWordEmbedding"):
        return [("embedding", None), ("mul", "scaled")]
    if class_name == "Embedding":
        return [("embedding", "")]
    if isinstance(module, torch.nn.Linear):
        return [("mm|addmm", "")]
    return [("silu|gelu", "")] if class_name in ("SiLUActivation", "GELUTanh", "SiLU") else []


class RoundingLog(TorchDispatchMode):
    """`with RoundingLog(model, kind, implementation) as log:` runs the model; then `log.tensors` holds {name: tensor}."""

    def __init__(self, model, kind, implementation):
        super().__init__()
        self.dtype, self.kind, self.implementation = model.dtype, kind, implementation
        self.tensors, self.seen, self.path = {}, defaultdict(list), []
        self.modules = dict(model.named_modules())
        self.hooks = []
        for name, module in self.modules.items():
            self.hooks.append(module.register_forward_pre_hook(lambda _m, _i, name=name: self.path.append(name)))
            self.hooks.append(module.register_forward_hook(self.leave, always_call=True))

    def leave(self, _module, _inputs, _output):
        self.path.pop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        operation = func.overloadpacket.__name__
        if self.dtype == torch.float64 and operation == "_to_copy" and kwargs.get("dtype") == torch.float32 and args[0].dtype == torch.float64:
            return args[0]
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.dtype == self.dtype and operation not in MOVES and self.path:
            self.seen[self.path[-1]].append((operation, result.detach().clone()))
        return result

    def __exit__(self, *exception):
        result = super().__exit__(*exception)
        for hook in self.hooks:
            hook.remove()
        if exception[0] is None:
            for name, module in self.modules.items():
                self.match(name, expected(module, self.kind, self.implementation, self.dtype in CASTS))
        return result

    def match(self, path, names):
        """Give this module's results their names; anything unexpected is an error."""
        found = list(self.seen[path])
        for operations, name in names:
            optional, operations = operations.endswith("?"), operations.rstrip("?").split("|")
            if found and found[0][0] in operations:
                _, tensor = found.pop(0)
                if name is not None:
                    self.tensors[f"{path}.{name}" if name and path else path or name] = tensor
            elif not optional:
                raise RuntimeError(f"{path}: expected {operations[0]} ({name}), found {[op for op, _ in self.seen[path]]}")
        if found:
            raise RuntimeError(f"{path}: {[op for op, _ in found]} left over of {[op for op, _ in self.seen[path]]}")
