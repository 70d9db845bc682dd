"""A made-up hand with the shapes of MANO: the one with which the published code was recorded."""

import numpy as np


def _tube(n_rings=48, n_seg=16):
    s = np.linspace(0.0, 1.0, n_rings)[:, None]
    ang = 1.35 * np.pi * s
    x = 0.095 - 0.075 * np.sin(ang) - 0.12 * s
    centre = np.concatenate([x, 0.055 * np.cos(ang) - 0.01, 0.05 * np.sin(1.7 * ang)], 1)
    tangent = np.gradient(centre, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.cross(tangent, np.array([0.3, 0.2, 0.93]))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    binormal = np.cross(tangent, normal)
    radius = ((0.030 - 0.018 * s) * (1 + 0.12 * np.sin(9 * s)))[:, None]
    th = (2 * np.pi * np.arange(n_seg) / n_seg)[None, :, None]
    ring = np.cos(th) * normal[:, None] + np.sin(th) * binormal[:, None]
    vertices = (centre[:, None] + radius * ring).reshape(-1, 3)
    vertices = np.concatenate([vertices, centre[-1:] + 0.008 * tangent[-1:]])
    faces = []
    for i in range(n_rings - 1):
        for j in range(n_seg):
            a, b = i * n_seg + j, i * n_seg + (j + 1) % n_seg
            faces += [[a, b, b + n_seg], [a, b + n_seg, a + n_seg]]
    last = (n_rings - 1) * n_seg
    faces += [[last + j, last + (j + 1) % n_seg, n_rings * n_seg] for j in range(n_seg)]
    return vertices, faces


def make_fake_mano(seed=0):
    """MANO's fields under MANO's keys, float64, and the rows `D_idx` of the coarse mesh."""
    g = np.random.default_rng(seed)
    v, f = _tube()
    for k in np.linspace(50, len(f) - 60, 9).astype(int):
        a, b, c = f[k]
        v = np.concatenate([v, v[[a, b, c]].mean(0)[None]])
        m = len(v) - 1
        f[k] = [a, b, m]
        f += [[b, c, m], [c, a, m]]
    f = np.array(f, np.uint32)
    perm = g.permutation(len(v))
    v, f = v[perm], np.argsort(perm)[f].astype(np.uint32)
    f = f[g.permutation(len(f))]
    anchors = np.concatenate([[int(np.argmax(v[:, 0]))], g.choice(778, 15, replace=False)])
    centres = v[anchors] * 0.9 + v.mean(0) * 0.1
    d2 = ((centres[:, None] - v[None]) ** 2).sum(-1)
    regressor = np.exp(-d2 / (2 * 0.02**2)) * (0.5 + g.random((16, 778)))
    regressor[regressor < 1e-3 * regressor.max(1, keepdims=True)] = 0.0
    regressor /= regressor.sum(1, keepdims=True)
    w = np.exp(-d2.T / (2 * 0.025**2)) + 1e-6 + 0.02 * g.random((778, 16))
    w /= w.sum(1, keepdims=True)
    q, _ = np.linalg.qr(g.normal(size=(45, 45)))
    parents = [4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
    return {
        "v_template": v,
        "f": f,
        "shapedirs": 0.003 * g.normal(size=(778, 3, 10)),
        "posedirs": 0.0005 * g.normal(size=(778, 3, 135)),
        "J_regressor": regressor,
        "weights": w,
        "hands_components": q,
        "hands_mean": 0.25 * g.normal(size=45),
        "kintree_table": np.array([parents, range(16)], np.int64),
        "D_idx": np.sort(g.choice(778, 195, replace=False)),
    }
