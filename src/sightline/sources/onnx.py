"""ONNX files (extra `onnx`): the graph as torch's modules, in the places that their names tell.

onnx2torch makes a module of each node; the nodes of today's exporters that it doesn't know yet are added here.
"""

import ast
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from sightline.errors import ModelError, first_line
from sightline.model import Model
from sightline.sources.opened import opened
from sightline.targets import Labels

ENDINGS = (".onnx",)
_LABELS = ("names", "labels", "classes")  # as exporters call them in a file's metadata


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnx2torch
    except ImportError as error:
        raise ModelError('onnx and onnx2torch are not installed; pip install "sightline[onnx]"') from error
    return onnx, onnx2torch


def load(file: str, weights: str | None = None) -> Model:
    """The graph of one image in a file, for images of its input's size; class names from its metadata, if there.

    Its layers have the names of the modules that it was exported from where the exporter kept them (torch's do), and
    else those of the file's nodes, dotted. Batch norm is part of the convolution before it: exporters fold it in.
    Raises ModelError for a graph of several inputs, and, naming it, for an operation that can't be converted.
    """
    onnx, onnx2torch = _libraries()
    try:
        proto = onnx.load(file)
        onnx.checker.check_model(proto)
    except Exception as error:  # a damaged file makes protobuf raise errors of many kinds
        raise ModelError(f"{file} can't be read as an ONNX file: {first_line(error)}") from error
    batch, *size = _shape(proto, file)
    _simplify(onnx, proto, batch)
    _teach(onnx, proto, file)
    scopes = [_scope(node) for node in proto.graph.node]
    for i, node in enumerate(proto.graph.node):
        node.name = f"node{i}"
    try:
        flat = onnx2torch.convert(proto)
    except Exception as error:  # converters refuse attributes with errors of many kinds
        raise ModelError(
            f"{file} can't be converted: {first_line(error)}; where you have the torch module, export it to a .pt2 file"
        ) from error
    for name, module in list(flat.named_children()):
        if type(module).__name__ in _RENEWED:
            setattr(flat, name, _RENEWED[type(module).__name__]())
    found = opened(nested(flat, scopes), Path(file).name, "onnx", (size[0], size[1], size[2]), batch=batch)
    labels = _labels(proto)
    return replace(found, labels=labels) if labels else found


def _shape(proto: Any, file: str) -> list[int | None]:
    """The sizes (N, C, H, W) of the one input, None where any will do."""
    constant = {each.name for each in proto.graph.initializer}
    inputs = [each for each in proto.graph.input if each.name not in constant]
    shapes = [[dim.dim_value or None for dim in each.type.tensor_type.shape.dim] for each in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ModelError(
            f"{file} takes {', '.join(f'{each.name} {shape}' for each, shape in zip(inputs, shapes, strict=True))}; "
            "a graph of one image (N, C, H, W) is expected"
        )
    return shapes[0]


def _labels(proto: Any) -> Labels:
    """The class names in the metadata: a list or a mapping from index to name, as Python or JSON writes it."""
    told = {each.key: each.value for each in proto.metadata_props}
    for key in _LABELS:
        with suppress(ValueError, SyntaxError, TypeError):
            names = ast.literal_eval(told.get(key, ""))
            if isinstance(names, dict):
                names = [names[index] for index in sorted(names, key=int)]
            return Labels(tuple(map(str, names)))
    return Labels(())


def _simplify(onnx: Any, proto: Any, batch: int | None) -> None:
    """Say in the file's older words what is the same in them: no renamed constants, no `allowzero` where none is 0.

    And a reshape to the `batch` that the file was saved for copies the number of images from its input (0) instead.
    """
    arrays, graph = onnx.numpy_helper, proto.graph
    constants = {each.name: each for each in graph.initializer}
    same = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity" and n.input[0] in constants}
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    first = {
        each.name: each.type.tensor_type.shape.dim[0].dim_value
        for each in (*inferred.input, *inferred.value_info)
        if len(each.type.tensor_type.shape.dim)
    }
    for node in list(graph.node):
        if node.output[0] in same:
            graph.node.remove(node)
            continue
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
        if node.op_type == "Reshape" and (constant := constants.get(node.input[1])) is not None:
            shape = arrays.to_array(constant).copy()
            if not shape.all():
                continue
            kept = [each for each in node.attribute if each.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
            if batch is not None and shape.size and shape[0] == batch == first.get(node.input[0]):
                shape[0] = 0
                node.input[1] = f"{node.output[0]} of any number of images"
                graph.initializer.append(arrays.from_array(shape, node.input[1]))


def _teach(onnx: Any, proto: Any, file: str) -> None:
    """Give onnx2torch the converters that it lacks for a graph's nodes. Raises ModelError for one that has none."""
    from onnx2torch.node_converters.registry import add_converter, get_converter

    versions = {each.domain: each.version for each in proto.opset_import}
    for node in proto.graph.node:
        domain, version = node.domain, versions[node.domain]
        with suppress(NotImplementedError):
            get_converter(node.op_type, version, domain)
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=version, domain=domain)
        except onnx.defs.SchemaError:
            schema = None
        converter = _OWN.get(node.op_type) or (None if schema is None else _older(onnx, node, schema))
        if converter is None:
            raise ModelError(
                f"{file} uses the operation {node.op_type} (version {version}), which can't be converted to torch; "
                "where you have the torch module, export it to a .pt2 file (torch.export.save)"
            )
        add_converter(node.op_type, version if schema is None else schema.since_version, domain)(converter)


def _older(onnx: Any, node: Any, schema: Any) -> Any:
    """The converter of an operation's older version, where the node says nothing that the newer one added."""
    from onnx2torch.node_converters.registry import get_converter

    told = {each.name for each in node.attribute if each != schema.attributes[each.name].default_value}
    for version in range(schema.since_version - 1, 0, -1):
        with suppress(NotImplementedError, onnx.defs.SchemaError):
            found = get_converter(node.op_type, version, node.domain)
            before = onnx.defs.get_schema(node.op_type, max_inclusive_version=version, domain=node.domain)
            return found if told <= set(before.attributes) and len(node.input) <= before.max_input else None
    return None


class Sliced(nn.Module):
    """A slice along some axes, backwards where a step is negative."""

    def forward(
        self, values: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
    ) -> Tensor:
        given = [starts.tolist(), ends.tolist()]
        given.append(list(range(len(starts))) if axes is None else axes.tolist())
        given.append([1] * len(starts) if steps is None else steps.tolist())
        index = [slice(None)] * values.ndim
        for start, end, axis, step in zip(*given, strict=True):
            if step < 0:
                values, start, end, step = values.flip(axis), -start - 1, -end - 1, -step
            index[axis] = slice(start, end, step)
        return values[tuple(index)]


class Scattered(nn.Module):
    """Values with others in the places that indices (..., leading dimensions) name."""

    def forward(self, values: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        return values.index_put(tuple(indices.unbind(-1)), updates)


_RENEWED = {"OnnxSlice": Sliced, "OnnxScatterND": Scattered}
"""What stands in for modules of onnx2torch that index in a way that torch no longer means so."""


class Reduced(nn.Module):
    """A mean, maximum, minimum or norm over some dimensions, which are an input since opset 18."""

    def __init__(self, kind: str, dims: Sequence[int] | None, keepdim: bool) -> None:
        super().__init__()
        self.kind, self.dims, self.keepdim = kind, dims, keepdim

    def forward(self, values: Tensor) -> Tensor:
        dims = tuple(range(values.ndim)) if self.dims is None else tuple(self.dims)
        match self.kind:
            case "ReduceMean":
                return values.mean(dims, self.keepdim)
            case "ReduceMax":
                return values.amax(dims, self.keepdim)
            case "ReduceMin":
                return values.amin(dims, self.keepdim)
        norm: Tensor = torch.linalg.vector_norm(values, dim=dims, keepdim=self.keepdim)
        return norm


def _reduce(node: Any, graph: Any) -> Any:
    from onnx2torch.utils.common import OnnxMapping, OperationConverterResult, get_const_value

    given = len(node.input_values) > 1 and node.input_values[1]
    dims = [int(each) for each in torch.as_tensor(get_const_value(node.input_values[1], graph))] if given else []
    kept = bool(node.attributes.get("keepdims", 1))
    same = not dims and node.attributes.get("noop_with_empty_axes", 0)
    module = nn.Identity() if same else Reduced(node.operation_type, dims or None, kept)
    return OperationConverterResult(module, OnnxMapping(node.input_values[:1], node.output_values))


def _gelu(node: Any, graph: Any) -> Any:
    from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node

    return OperationConverterResult(nn.GELU(node.attributes.get("approximate", "none")), onnx_mapping_from_node(node))


_OWN = {"Gelu": _gelu} | dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"), _reduce)


class Stage(nn.Module):
    """What a module of the exported model gave, in its place in the tree; its parts are below it."""

    def forward(self, value: Any) -> Any:
        return value


def _scope(node: Any) -> tuple[str, ...]:
    """The names of the modules that a node stands in, outermost first, then its own.

    torch's exporter keeps them in the node's metadata (`layer4`, `layer4.1`, `layer4.1.conv2`); its older one, and
    other frameworks, in the node's name (`/layer4/layer4.1/conv2/Conv`).
    """
    told = {each.key: each.value for each in node.metadata_props}
    if "pkg.torch.onnx.name_scopes" in told:
        scopes = [name for name in ast.literal_eval(told["pkg.torch.onnx.name_scopes"])[:-1] if name]
    else:
        scopes = []
        for part in [part for part in re.split(r"[/:]+", node.name) if part][:-1]:
            scopes.append(_qualified(scopes[-1], part) if scopes else part)
    return (*scopes, node.op_type)


def _qualified(inside: str, part: str) -> str:
    """`conv2` inside `layer4.1` is `layer4.1.conv2`, but `layer4.1` inside `layer4` says so itself already."""
    return f"{inside}.{part.removeprefix(inside.rpartition('.')[2] + '.')}"


def nested(flat: fx.GraphModule, scopes: Sequence[tuple[str, ...]]) -> fx.GraphModule:
    """The same graph, its modules in a tree: node i, called `node{i}`, in the modules that `scopes[i]` names.

    A module whose nodes follow one another and hand one value on is there too, as what gives that value.
    """
    graph, root = flat.graph, nn.Module()
    inside: dict[fx.Node, tuple[str, ...]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            inside[node] = scopes[int(str(node.target).rpartition("node")[2])][:-1]
    alone = {scopes_of[-1] for scopes_of, count in Counter(inside.values()).items() if scopes_of and count == 1}
    alone -= {scope for scopes_of in inside.values() for scope in scopes_of[:-1]}
    every = {scope for around in inside.values() for scope in around} - alone
    taken = Counter(every)
    for name, container in flat.named_children():
        if name == "initializers":
            _put(root, name, container)
    for node, around in inside.items():
        module, kind = flat.get_submodule(str(node.target)), scopes[int(str(node.target).rpartition("node")[2])][-1]
        name = around[-1] if around and around[-1] in alone else ".".join((*around[-1:], kind))
        taken[name] += 1
        node.target = name if taken[name] == 1 else f"{name}_{taken[name]}"
        _put(root, node.target, module)
    for scope in sorted(every, key=lambda name: -name.count(".")):
        _mark(graph, scope, inside)
    return fx.GraphModule(root, graph)


def _mark(graph: fx.Graph, scope: str, inside: dict[fx.Node, tuple[str, ...]]) -> None:
    """Let the one value that a module gives pass through it, where its nodes are one stretch of the graph."""
    order = [node for node in graph.nodes if node in inside]
    places = [i for i, node in enumerate(order) if scope in inside[node]]
    own = {order[i] for i in places}
    given = [node for node in own if any(user not in own and user.op != "get_attr" for user in node.users)]
    if len(places) != places[-1] - places[0] + 1 or len(given) != 1:
        return
    around = inside[given[0]]
    with graph.inserting_after(given[0]):
        passed = graph.create_node("call_module", scope, (given[0],))
    for user in list(given[0].users):
        if user not in own and user is not passed:
            user.replace_input_with(given[0], passed)
    inside[passed] = around[: around.index(scope)]


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    """A module at a dotted path, in stages; what stood there already is kept as its parts."""
    *around, last = path.split(".")
    for part in around:
        if part not in root._modules:
            root.add_module(part, Stage())
        root = root.get_submodule(part)
    root.add_module(last, module)
