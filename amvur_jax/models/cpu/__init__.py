"""The network's arithmetic as XLA's CPU code is quick at it: the same values as the plain forms in models/.

`backend.on_one_cpu` is the one switch: the plain function stands in layers.py or transformer.py under
`@backend.one_cpu_takes(fast)`, and the fast one here, with the jax release and the figure that justify it.
Figures are of two cores (Xeon with AVX-512) unless said otherwise.
"""
