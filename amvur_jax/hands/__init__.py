"""The hands of a photograph in 3D, in the photograph's one camera, and the files that hold them."""
