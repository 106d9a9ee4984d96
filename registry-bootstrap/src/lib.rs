//! The cluster's own image registry, on the core node, and its images on every DEA. To come.
//!
//! What will be here: a plan of what is missing and its execution (start the registry, publish an image under the
//! cluster's name, make one index over several architectures), distribution to the nodes in waves, rolling a new image
//! out and back, saving to and loading from an archive for clusters without a network. Today the crate is empty: an
//! image is built or loaded on each node by hand, and `kato config set fence docker/image` chooses it.
//!
//! It will use the config tree (`cluster`) and the boundary to Docker (`engine`), and own no state but the registry's.
