"""A network as a graph of ONNX, written down operation by operation: nothing is traced, so no length is baked in.

    graph = Graph()
    y = graph.op("Add", "x", graph.array(np.float32(1)))
    graph.output("y", y, ["batch", "length"])
    graph.save(path)

Names of values are numbers in the order in which they were made, so the same network gives the same bytes.
"""

from pathlib import Path
from typing import Any

import numpy as np

OPSET = 18  # the lowest that has all of the operations: more programs read an older one
IR = 10
MICROSOFT = "com.microsoft"  # operations of ONNX Runtime that the standard does not have: weights in blocks
LARGEST = 2**31 - 2**20  # bytes of one file: protobuf's own limit, less room for the nodes


class Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._made, self._called = 0, dict[str, str]()

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The name of what an operation makes of its inputs."""
        return self.ops(kind, 1, *inputs, domain=domain, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, domain: str = "", **attributes: Any) -> list[str]:
        """The same of an operation that makes several."""
        from onnx import helper

        names = [self._name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def array(self, value: Any, name: str = "") -> str:
        """The name of a constant; an equal number, or list of whole numbers, is there once."""
        from onnx import numpy_helper

        value = np.asarray(value)
        if not name:
            small = value.size <= 16
            name = f"{value.dtype}/{'_'.join(map(str, value.shape))}/{value.tobytes().hex()}" if small else self._name()
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def bfloat16(self, bits: np.ndarray, name: str) -> str:
        """The name of a constant in float32 which is stored in 16 bits, given as uint16."""
        from onnx import TensorProto, helper

        if name not in self.weights:
            self.weights[name] = helper.make_tensor(name, TensorProto.BFLOAT16, bits.shape, bits.tobytes(), raw=True)
        return self.op("Cast", name, to=TensorProto.FLOAT)

    def floats(self, value: float) -> str:
        return self.array(np.float32(value))

    def ints(self, *values: int) -> str:
        return self.array(np.array(values, np.int64))

    def input(self, name: str, shape: list[str | int], whole: bool = False) -> str:
        """A float32, or an int64 one where `whole`."""
        self.inputs.append(_info(name, shape, whole))
        return name

    def output(self, name: str, value: str, shape: list[str | int]) -> None:
        """A float32 one: what an operation made, which is called so from now on, for a copy would cost time."""
        self._called[value] = name
        self.outputs.append(_info(name, shape, False))

    def bytes(self) -> int:
        """Of all constants."""
        return sum(len(weight.raw_data) for weight in self.weights.values())

    def save(self, path: Path) -> None:
        """To one file; where that would be too large, the weights to a second one: `<name>_data`."""
        import onnx

        model, large = self.model(), self.bytes() > LARGEST
        if large:
            onnx.save_model(model, str(path), save_as_external_data=True, location=f"{path.name}_data")
            return
        path.write_bytes(model.SerializeToString(deterministic=True))

    def model(self) -> Any:
        from onnx import helper

        for node in self.nodes:
            node.input[:] = [self._called.get(name, name) for name in node.input]
            node.output[:] = [self._called.get(name, name) for name in node.output]
        graph = helper.make_graph(self.nodes, "model", self.inputs, self.outputs, list(self.weights.values()))
        domains = {node.domain for node in self.nodes}
        opsets = [helper.make_opsetid("", OPSET)]
        opsets += [helper.make_opsetid(MICROSOFT, 1)] if MICROSOFT in domains else []
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="ablate")

    def _name(self) -> str:
        self._made += 1
        return f"v{self._made}"


def _info(name: str, shape: list[str | int], whole: bool) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.INT64 if whole else TensorProto.FLOAT, shape)
