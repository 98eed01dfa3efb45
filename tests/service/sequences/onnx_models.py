"""Stateful ONNX models: a sum kept as implicit state, and what the controls held."""

from pathlib import Path

from onnx import TensorProto, helper

from tests.engines.small_onnx import save

CONFIG = """
backend: "onnxruntime" max_batch_size: %(rows)d
input { name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "ROW" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "FLAGS" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "NAME" data_type: TYPE_%(id)s dims: [ 1 ] }
instance_group { count: %(instances)d kind: KIND_CPU }
sequence_batching { %(strategy)s max_sequence_idle_microseconds: %(idle)d
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
  control_input { name: "END" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } }
  control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }
  control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_%(id)s } }
  state { input_name: "before" output_name: "after" data_type: TYPE_INT32 dims: [ 1 ]%(initial)s }
}
"""
INITIAL = ' initial_state { name: "i" data_type: TYPE_INT32 dims: [ 1 ] data_file: "ten" }'


def config(strategy: str, rows: int = 4, instances: int = 1, idle: float = 60.0, name: str = "UINT64") -> str:
    """The configuration of `accumulator`. `name`: the type of correlation ids."""
    return CONFIG % {
        "strategy": strategy,
        "rows": rows,
        "instances": instances,
        "idle": idle * 1e6,
        "id": name,
        "initial": "",
    }


def accumulator(path: Path, rows: bool = True, name: int = TensorProto.UINT64) -> None:
    """after = before + INPUT; OUTPUT is the same, times READY; FLAGS = START + 2 END + 4 READY; NAME is the id; ROW the
    row of the batch. `rows`: with a batch dimension; `name`: the type of the id.
    """
    dims = ["n", 1] if rows else [1]
    ints = ("INPUT", "START", "END", "READY", "before")
    given = [helper.make_tensor_value_info(one, TensorProto.INT32, dims) for one in ints]
    given.append(helper.make_tensor_value_info("CORRID", name, dims))
    made = [helper.make_tensor_value_info(one, TensorProto.INT32, dims) for one in ("OUTPUT", "ROW", "FLAGS", "after")]
    made.append(helper.make_tensor_value_info("NAME", name, dims))
    numbers = {"one": 1, "two": 2, "four": 4, "axis": 0}
    constants = [helper.make_tensor(key, TensorProto.INT32, [], [value]) for key, value in numbers.items()]
    node = helper.make_node
    nodes = [
        node("Add", ["before", "INPUT"], ["after"]),
        node("Mul", ["after", "READY"], ["OUTPUT"]),
        node("Mul", ["END", "two"], ["ends"]),
        node("Mul", ["READY", "four"], ["readies"]),
        node("Add", ["START", "ends"], ["both"]),
        node("Add", ["both", "readies"], ["FLAGS"]),
        node("Sub", ["READY", "READY"], ["nothing"]),
        node("Add", ["nothing", "one"], ["ones"]),
        node("CumSum", ["ones", "axis"], ["ROW"], exclusive=1),
        node("Identity", ["CORRID"], ["NAME"]),
    ]
    save(path, helper.make_graph(nodes, "accumulator", given, made, constants))
