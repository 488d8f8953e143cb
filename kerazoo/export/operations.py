"""What a SavedModel would run: its operations are read from its file and compared with a list before it is loaded."""

import collections
import os
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from kerazoo import _checks, _files

FILE = "saved_model.pb"
OTHER_FILES = ("saved_model.pbtxt", "saved_model.cpb")  # which TensorFlow reads as well
MAX_BYTES = 2**31 - 1  # of a protocol buffer
# What the function that saves the weights uses, and the one that restores them; nothing else may.
SAVING = frozenset(["SaveV2", "MergeV2Checkpoints", "ShardedFilename"])
RESTORING = frozenset(["RestoreV2"])
# Operations that compute their outputs from their inputs alone, or read and assign the variables and tables of the
# model. None opens a file, a process or a connection, prints, or calls back into Python.
ALLOWED = frozenset(
    """
    Abs Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Assert AssignAddVariableOp
    AssignSubVariableOp AssignVariableOp Atan Atan2 Atanh AudioSpectrogram AvgPool BatchMatMul BatchMatMulV2
    BatchMatMulV3 BatchToSpaceND Betainc BiasAdd BiasAddV1 Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor
    BroadcastArgs BroadcastTo Bucketize Case Cast Ceil CheckNumerics ClipByValue Complex ComplexAbs Concat ConcatOffset
    ConcatV2 Conj Const Conv2D Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp DecodeBase64
    DecodeImage DecodeJpeg DecodePng DecodeBmp DecodeGif DecodeRaw DecodeWav DenseBincount DepthwiseConv2dNative
    Dequantize Diag DiagPart Digamma DisableCopyOnRead Div DivNoNan DynamicPartition DynamicStitch Einsum Elu
    EncodeBase64 EnsureShape Equal Erf Erfc Erfinv Exp ExpandDims Expm1 FFT FFT2D FakeQuantWithMinMaxVars Fill
    Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater
    GreaterEqual HashTableV2 HistogramFixedWidth IFFT IFFT2D IRFFT IRFFT2D Identity IdentityN If Igamma Igammac Imag
    InTopKV2 Inv Invert InvertPermutation IsFinite IsInf IsNan L2Loss LeakyRelu LeftShift Less LessEqual Lgamma LinSpace
    ListDiff Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableFindV2 LookupTableImportV2
    LookupTableSizeV2 LowerBound LRN MatMul MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV3 MatrixDiagV3
    MatrixInverse MatrixSetDiagV3 MatrixSolve Max MaxPool MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan
    Ndtri Neg NextAfter NoOp NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual OneHot
    OnesLike Pack Pad PadV2 ParallelDynamicStitch PartitionedCall Placeholder PlaceholderWithDefault Polygamma
    PopulationCount Pow PreventGradient Prod Qr QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
    QuantizeV2 RFFT RFFT2D RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor
    RaggedTensorToVariant Range Rank ReadVariableOp Real RealDiv Reciprocal ReduceJoin RegexFullMatch RegexReplace Relu
    Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ResourceGather ResourceGatherNd Reverse
    ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt ScaleAndTranslate ScatterNd SegmentMax SegmentMean
    SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot
    Softmax Softplus Softsign SpaceToBatchND SpaceToDepth DepthToSpace SparseToDense
    SparseSoftmaxCrossEntropyWithLogits Split SplitV Sqrt Square SquaredDifference Squeeze
    StatefulPartitionedCall StatelessCase StatelessIf StatelessMultinomial StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
    StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessWhile StaticRegexFullMatch
    StaticRegexReplace StopGradient StridedSlice StringFormat StringJoin StringLength StringLower StringNGrams
    StringSplit StringSplitV2 StringStrip StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Sub
    Substr Sum Svd Tan Tanh TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize
    TensorListSetItem TensorListStack TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv TruncateMod UnicodeDecode UnicodeDecodeWithOffsets
    UnicodeEncode UnicodeScript UnicodeTranscode Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex
    UnsortedSegmentJoin UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound
    VarHandleOp VarIsInitializedOp VariableShape Where While Xdivy XlaDynamicSlice XlaDynamicUpdateSlice Xlog1py Xlogy
    ZerosLike Zeta
    """.split()  # noqa: SIM905
)


def check_operations(directory: str | os.PathLike) -> dict[str, int]:
    """Refuses a SavedModel that would run anything but computations on its inputs and its weights.

    A SavedModel is a program, and parts of it run while it is loaded. Its file is parsed, nothing of it is run, and
    each operation in its graph and in all its functions is compared with a list of those that compute. The operations
    that save and restore weights may be in the function for that alone, which no signature reaches. A model that passes
    may still give wrong answers, take long, or take much memory.

    Args:
        directory: string or path. The folder of the SavedModel.

    Returns:
        How often each operation occurs.

    Raises:
        CheckpointError: if the folder holds no SavedModel of TensorFlow 2, a link, or a file that is read from
            elsewhere, or an operation that is not on the list; the message names it.

    Example:

    ```python
    import kerazoo as kz
    import tensorflow as tf

    class Doubling(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None])])
        def __call__(self, x):
            return 2 * x

    tf.saved_model.save(Doubling(), "doubling")
    print(kz.export.check_operations("doubling"))
    ```
    """
    directory = pathlib.Path(directory)
    graphs = _parsed(directory)
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise _refusal(
            directory, f"it must hold one graph with its objects, as TensorFlow 2 writes it; got {len(graphs)}"
        )
    (graph,) = graphs
    for asset in graph.asset_file_def:
        if not re.fullmatch(r"[^/\\\0]+", asset.filename) or asset.filename in (".", ".."):
            raise _refusal(directory, f"the asset {asset.filename!r:.60} is outside of its folder")
    counts: collections.Counter[str] = collections.Counter()
    touching: dict[str, set[str]] = {}  # the operations on files of each function
    for function_name, node in _nodes(graph):
        counts[node.op] += 1
        if node.op in SAVING | RESTORING and function_name:
            touching.setdefault(function_name, set()).add(node.op)
        elif node.op not in ALLOWED:
            where = f"the function {function_name!r:.60}" if function_name else "its graph"
            raise _refusal(
                directory,
                f"{where} has the operation {node.op!r:.60}, which is not one of the {len(ALLOWED)} that only compute",
            )
    _check_saver(directory, graph, touching)
    return dict(sorted(counts.items()))


def _parsed(directory: pathlib.Path) -> Any:
    """Returns the graphs in the file of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        _files.check_tree(directory)
        other = [name for name in OTHER_FILES if (directory / name).exists()]
        if other:
            raise ValueError(f"{other[0]} is there, and only {FILE} is read")
        content = _files.read_file(directory / FILE, MAX_BYTES)
        model = saved_model_pb2.SavedModel()
        try:
            model.ParseFromString(content)
        except Exception as error:  # an error of protobuf, a package of TensorFlow
            raise ValueError(f"its content is damaged ({error})") from error
    except (OSError, ValueError) as error:
        text = _files.reason(error, directory / FILE) if isinstance(error, OSError) else error
        raise _refusal(directory, f"{FILE} cannot be read: {text}") from error
    return model.meta_graphs


def _nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yields the name of the function, empty for the graph itself, and the node, of all nodes."""
    for node in graph.graph_def.node:
        yield "", node
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            yield function.signature.name, node


def _check_saver(directory, graph, touching):
    """Refuses operations on files outside of the functions that the saver calls, and other callers of these."""
    saver = graph.saver_def
    saves, restores = saver.save_tensor_name.partition(":")[0], saver.restore_op_name
    nodes = {node.name: node for node in graph.graph_def.node}
    for name, used in touching.items():
        callers = [(function_name, node.name) for function_name, node in _nodes(graph) if name in _called(node)]
        allowed = ("", restores) if used <= RESTORING else ("", saves)
        if (
            callers != [allowed]
            or name in graph.object_graph_def.concrete_functions
            or (used & RESTORING and used & SAVING)
        ):
            raise _refusal(
                directory, f"the function {name!r:.60} has the operation {sorted(used)[0]!r} and is no saver"
            )
    for key, signature in graph.signature_def.items():
        reached = _upstream(nodes, [each.name for each in signature.outputs.values()])
        if key != "__saved_model_init_op" and {saves, restores} & reached:
            raise _refusal(directory, f"the signature {key!r:.60} saves or restores files")


def _called(node: Any) -> list[str]:
    """Returns the names of the functions in the attributes of a node."""
    found = []
    for value in node.attr.values():
        found += [value.func.name] if value.HasField("func") else []
        found += [each.name for each in value.list.func]
    return found


def _upstream(nodes: dict[str, Any], tensors: Iterable[str]) -> set[str]:
    """Returns the names of all nodes that some tensors are computed from."""
    found: set[str] = set()
    waiting = [_node_name(each) for each in tensors]
    while waiting:
        name = waiting.pop()
        if name not in found and name in nodes:
            found.add(name)
            waiting += [_node_name(each) for each in nodes[name].input]
    return found


def _node_name(tensor):
    return tensor.removeprefix("^").partition(":")[0]


def _refusal(directory, reason):
    return _checks.CheckpointError(f"{directory}: the SavedModel is not loaded: {reason}.")
