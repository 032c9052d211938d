"""The network: features, encoders, pooling, classifier."""
