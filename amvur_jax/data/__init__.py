"""From files to batches: frames, crops, augmentation, mixtures and views of data sets, prefetching."""
