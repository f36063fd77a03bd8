"""Allowlist of the operations that a SavedModel may contain without `trust`.

Each computes its results from its inputs and attributes alone, or reads and assigns the SavedModel's own
variables. None opens a file or a socket, calls Python, or shares a resource with another process. Operations
that run functions are allowed because the functions are checked, too.
"""

from __future__ import annotations

_ARITHMETIC = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 Asin Asinh Atan Atan2 Atanh Ceil ClipByValue Cos Cosh Digamma
Div DivNoNan Elu EluGrad Erf Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Inv InvGrad LeakyRelu
LeakyReluGrad Lgamma Log Log1p LogSoftmax Maximum Minimum Mod Mul MulNoNan Ndtri Neg Pow RealDiv Reciprocal
ReciprocalGrad Relu Relu6 Relu6Grad ReluGrad Rint Round Rsqrt RsqrtGrad Selu SeluGrad Sigmoid SigmoidGrad
Sign Sin Sinh Softmax Softplus SoftplusGrad Softsign SoftsignGrad Sqrt SqrtGrad Square SquaredDifference Sub
Tan Tanh TanhGrad TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
"""

_COMPARISON = """
ApproximateEqual BitwiseAnd BitwiseOr BitwiseXor Equal Greater GreaterEqual Invert IsFinite IsInf IsNan
LeftShift Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual RightShift Select SelectV2 Where
"""

_REDUCTION = """
All Any ArgMax ArgMin Cumprod Cumsum CumulativeLogsumexp EuclideanNorm L2Loss Max Mean Min Prod Sum TopK
TopKV2
"""

_ALGEBRA = """
BatchMatMul BatchMatMulV2 BatchMatMulV3 Cross Einsum MatMul MatrixBandPart MatrixDiag MatrixDiagPart
MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3
"""

_LAYERS = """
AvgPool AvgPool3D BatchNormWithGlobalNormalization BiasAdd BiasAddGrad BiasAddV1 Conv Conv2D
Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative Dilation2D FusedBatchNorm
FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D LRN MaxPool MaxPool3D MaxPoolV2
MaxPoolWithArgmax FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
"""

_SHAPES = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo Cast Concat ConcatOffset
ConcatV2 ConjugateTranspose DataFormatDimMap DataFormatVecPermute DepthToSpace Diag DiagPart
DynamicPartition DynamicStitch EnsureShape ExpandDims ExtractImagePatches ExtractVolumePatches Fill Gather
GatherNd GatherV2 InvertPermutation LinSpace MirrorPad OneHot OnesLike Pack Pad PadV2 Range Rank Reshape
Reverse ReverseSequence ReverseV2 Roll ScatterNd Shape ShapeN Size Slice SpaceToBatch SpaceToBatchND
SpaceToDepth Split SplitV Squeeze StridedSlice TensorScatterAdd TensorScatterUpdate Tile Transpose Unpack
UnravelIndex ZerosLike
"""

_IMAGES = """
AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize DecodeBase64 DecodeImage DecodeJpeg
DecodePng HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 RGBToHSV ResizeArea ResizeBicubic
ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
"""

_RANDOM_NUMBERS = """
RandomStandardNormal RandomUniform RandomUniformInt RngReadAndSkip RngSkip StatefulStandardNormal
StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt
StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal
StatelessTruncatedNormalV2 TruncatedNormal
"""

_CONTROL = """
Assert CheckNumerics Const ControlTrigger Enter Exit FakeParam GuaranteeConst Identity IdentityN LoopCond
Merge NextIteration NoOp Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient Snapshot
StopGradient Switch EmptyTensorList TensorListElementShape TensorListFromTensor TensorListGetItem
TensorListLength TensorListReserve TensorListSetItem TensorListStack
TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArrayV3 TensorArrayWriteV3
"""

_FUNCTIONS = """
Case If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile While
"""

_VARIABLES = """
Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp IsVariableInitialized
ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp Variable VariableShape
VariableV2
"""

ALLOWED = frozenset(
    " ".join(
        (
            *(_ARITHMETIC, _COMPARISON, _REDUCTION, _ALGEBRA, _LAYERS, _SHAPES, _IMAGES),
            *(_RANDOM_NUMBERS, _CONTROL, _FUNCTIONS, _VARIABLES),
        )
    ).split()
)
