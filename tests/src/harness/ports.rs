//! A block of the host's ports for each node: many nodes run on one machine at once.

use std::fs::{self, File};

/// Below the kernel's own range for outgoing connections.
const FIRST: u16 = 20_000;
/// As many as a story maps.
pub const COUNT: u16 = 32;
const BLOCKS: u16 = 300;

/// A block of ports that is this node's until it is dropped.
#[derive(Debug)]
pub struct Ports {
    pub first: u16,
    _lock: File,
}

impl Ports {
    /// Take the first free block.
    pub fn take() -> Ports {
        let folder = std::env::temp_dir().join("fence-story-ports");
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("could not make {}: {error}", folder.display()));
        for block in 0..BLOCKS {
            let path = folder.join(block.to_string());
            let file = File::create(&path).unwrap_or_else(|error| panic!("could not make {}: {error}", path.display()));
            if file.try_lock().is_ok() {
                return Ports {
                    first: FIRST + block * COUNT,
                    _lock: file,
                };
            }
        }
        panic!("all {BLOCKS} blocks of ports below {} are taken", folder.display());
    }
}
