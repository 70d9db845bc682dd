"""The network and its arithmetic: backbone, prior-net, transformer, cameras, texture."""
