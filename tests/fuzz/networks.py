"""Small valid networks that together use most operators that a model may use."""

import re
from random import Random

import onnx
import onnx.parser

BINS = 33

_HEAD = f"""<ir_version: 9, opset_import: ["" : 20]>
network (float[batch, frames, {BINS}] spectrum) => (float[batch, 4] probabilities)
"""

CONVOLUTIONS = """
<float[2, 3, 3] k = {R18}, float[2] b = {0, 1}, float[1, 2, 2] k2 = {R4}, float[2] m = {0, 0},
 float[2] v = {1, 1}, float[2] g = {1, 1}, int64[3] rows = {0, 3, -1}, float[1, 4] w = {R4},
 float[4] w0 = {R4}, float low = {-1}, float high = {6}, float[2, 1] slope = {0.1, 0.2}>
{
    t = Transpose <perm = [0, 2, 1]> (spectrum)
    p = AveragePool <kernel_shape = [11], strides = [2], auto_pad = "SAME_UPPER"> (t)
    r = GlobalAveragePool (p)
    r3 = Reshape (r, rows)
    c = Conv <pads = [2, 2], dilations = [2], kernel_shape = [3]> (r3, k, b)
    bn = BatchNormalization (c, g, m, m, v)
    pr = PRelu (bn, slope)
    cl = Clip (pr, low, high)
    lr = LeakyRelu <alpha = 0.2> (cl)
    mp = MaxPool <kernel_shape = [2], strides = [2], ceil_mode = 1> (lr)
    c2 = Conv <auto_pad = "SAME_LOWER"> (mp, k2)
    e = Elu (c2)
    gp = GlobalMaxPool (e)
    f = Flatten <axis = 1> (gp)
    y = Gemm <alpha = 0.5, transB = 0> (f, w, w0)
    probabilities = Softmax (y)
}"""

RECURRENT = """
<float[1, 8, 33] w = {R264}, float[1, 8, 2] r = {R16}, float[1, 16] b = {R16},
 int64[1] one = {1}, float[2, 4] d = {R8}, int64[1] zero = {0}>
{
    t = Transpose <perm = [1, 0, 2]> (spectrum)
    all, h, c = LSTM <hidden_size = 2, direction = "forward"> (t, w, r, b)
    s = Squeeze (h, zero)
    n = Neg (s)
    sg = Sigmoid (n)
    m = Mul (sg, s)
    th = Tanh (m)
    mm = MatMul (th, d)
    sp = Softplus (mm)
    ss = Softsign (sp)
    hs = HardSigmoid <alpha = 0.3> (ss)
    se = Selu (hs)
    l = LogSoftmax (se)
    x = Exp (l)
    su = ReduceSum <keepdims = 1> (x, one)
    probabilities = Div (x, su)
}"""

SHAPES = """
<int64[1] two = {2}, int64[1] one = {1}, int64[1] zero = {0}, int64[1] four = {4},
 int64[1] end = {9223372036854775807}, int64[2] halves = {4, 4}, int64[1] eight = {8},
 int64[6] pads = {0, 0, 0, 0, 0, 1}, float tiny = {0.5}, int64[3] once = {1, 1, 1},
 int64[2] flat = {-1, 4}>
{
    top, at = TopK <axis = 2, largest = 1> (spectrum, eight)
    sq = Sqrt (top)
    mn = ReduceMean <keepdims = 0> (sq, one)
    a, b = Split <axis = 1> (mn, halves)
    less = Less (a, b)
    nt = Not (less)
    w = Where (nt, a, b)
    shp = Shape (spectrum)
    bt = Gather <axis = 0> (shp, zero)
    d = Div (shp, two)
    dd = Slice (d, zero, one, zero)
    target = Concat <axis = 0> (bt, four)
    ones = ConstantOfShape <value = float[1] {1.0}> (target)
    ex = Expand (tiny, target)
    s = Sum (ones, ex, w)
    mx = Max (s, a)
    mi = Min (mx, b)
    u = Unsqueeze (mi, one)
    pd = Pad <mode = "constant"> (u, pads, tiny)
    sl = Slice (pd, zero, four, two)
    tl = Tile (sl, once)
    rs = Reshape (tl, flat)
    cs = CumSum (rs, one)
    am = ArgMax <axis = 1, keepdims = 1> (cs)
    af = Cast <to = 1> (am)
    ab = Add (cs, af)
    pw = Pow (ab, tiny)
    rc = Reciprocal (pw)
    er = Erf (rc)
    fl = Floor (ab)
    eq = Equal (fl, ab)
    ei = Cast <to = 1> (eq)
    ad = Add (er, ei)
    probabilities = Softmax <axis = 1> (ad)
}"""

QUANTIZED = """
<float s = {0.02}, uint8 z = {3}, uint8[33, 4] qw = {I132}, uint8 wz = {2}, float ws = {0.1},
 uint8[3, 33, 1] cw = {I99}, uint8 cz = {1}, int64[1] one = {1}, int64[1] two = {2},
 float[3, 4] d = {R12}, int8[4, 4] iw = {I16}, int8 iz = {0}, float o = {0.05}, uint8 oz = {100}>
{
    q, qs, qz = DynamicQuantizeLinear (spectrum)
    mi = MatMulInteger (q, qw, qz, wz)
    mf = Cast <to = 1> (mi)
    sc = Mul (qs, ws)
    m = Mul (mf, sc)
    mean = ReduceMean <keepdims = 0> (m, one)
    t = Transpose <perm = [0, 2, 1]> (spectrum)
    q2 = QuantizeLinear (t, s, z)
    ci = ConvInteger <kernel_shape = [1]> (q2, cw, z, cz)
    cf = Cast <to = 1> (ci)
    cm = ReduceMean <keepdims = 0> (cf, two)
    cd = MatMul (cm, d)
    qc = QLinearConv <kernel_shape = [1]> (q2, s, z, cw, ws, cz, o, oz)
    dq = DequantizeLinear (qc, o, oz)
    dm = ReduceMax <keepdims = 0> (dq, two)
    dd = MatMul (dm, d)
    q4 = QuantizeLinear (mean, o, oz)
    ql = QLinearMatMul (q4, o, oz, iw, ws, iz, o, oz)
    dl = DequantizeLinear (ql, o, oz)
    a = Add (mean, cd)
    b = Add (dd, dl)
    y = Add (a, b)
    probabilities = Softmax (y)
}"""

FAKE_QUANTIZED = """
<float s = {0.02}, uint8 z = {3}, int8[4, 33, 1] w = {I132}, float[4] ws = {0.1, 0.2, 0.1, 0.3},
 int8[4] wz = {0, 0, 0, 0}, int32[4] b = {1, -2, 3, -4}, float[4] bs = {0.002, 0.004, 0.002, 0.006},
 int32[4] bz = {0, 0, 0, 0}, float o = {0.05}, uint8 oz = {0}, int64[1] two = {2}>
{
    t = Transpose <perm = [0, 2, 1]> (spectrum)
    q = QuantizeLinear (t, s, z)
    d = DequantizeLinear (q, s, z)
    dw = DequantizeLinear <axis = 0> (w, ws, wz)
    db = DequantizeLinear <axis = 0> (b, bs, bz)
    c = Conv <kernel_shape = [1]> (d, dw, db)
    r = Relu (c)
    q2 = QuantizeLinear (r, o, oz)
    d2 = DequantizeLinear (q2, o, oz)
    y = ReduceMean <keepdims = 0> (d2, two)
    probabilities = Softmax (y)
}"""


NORMALIZED = """
<float[33] g = {R33}, float[33] b = {R33}, float[1, 6, 33] w = {R198}, float[1, 6, 2] r = {R12},
 float[1, 12] rb = {R12}, float[1, 2, 33] w1 = {R66}, float[1, 2, 2] r1 = {R4}, int64[1] zero = {0},
 int64[1] two = {2}, float[2, 4] d = {R8}, int64[1] one = {1},
 float[33, 2, 2] k = {R132}>
{
    ln = LayerNormalization <axis = -1> (spectrum, g, b)
    ge = Gelu <approximate = "tanh"> (ln)
    t = Transpose <perm = [0, 2, 1]> (ge)
    i = InstanceNormalization (t, g, b)
    mi = Mish (i)
    ce = Celu <alpha = 0.5> (mi)
    th = ThresholdedRelu <alpha = -0.5> (ce)
    si = Sin (th)
    co = Cos (th)
    ad = Add (si, co)
    e = Einsum <equation = "bft->tbf"> (ad)
    all, h = GRU <hidden_size = 2, linear_before_reset = 1> (e, w, r, rb)
    all1, h1 = RNN <hidden_size = 2> (e, w1, r1)
    hh = Add (h, h1)
    s = Squeeze (hh, zero)
    u = ConvTranspose <strides = [2]> (ad, k)
    lp = GlobalLpPool <p = 2> (u)
    l2 = Squeeze (lp, two)
    n = LpNormalization <axis = 1> (s)
    l1 = ReduceL1 <keepdims = 1> (n, one)
    c = Sub (s, l1)
    m = Mul (c, l2)
    y = Einsum <equation = "bi,ij->bj"> (m, d)
    hm = Hardmax <axis = 1> (y)
    z = Add (y, hm)
    probabilities = Softmax (z)
}"""


_TEXTS = (CONVOLUTIONS, RECURRENT, SHAPES, QUANTIZED, FAKE_QUANTIZED, NORMALIZED)


def networks() -> list[onnx.ModelProto]:
    """Return each network with its weights drawn from a fixed seed."""
    return [_parsed(text) for text in _TEXTS]


def _parsed(text: str) -> onnx.ModelProto:
    random = Random(0)

    def numbers(match: re.Match[str]) -> str:
        count = range(int(match[2]))
        if match[1] == "I":
            return ", ".join(str(random.randint(0, 9)) for _ in count)
        return ", ".join(f"{random.uniform(-1, 1):.3f}" for _ in count)

    return onnx.parser.parse_model(_HEAD + re.sub(r"\b([RI])(\d+)\b", numbers, text))
