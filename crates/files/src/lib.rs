//! A tree of files as a tar stream, and back.
//!
//! ```text
//!  directory ──▶ pack ──▶ Writer ──▶ bytes ──▶ Reader ──▶ unpack ──▶ directory
//! ```
//!
//! What is unpacked stays below its directory, however names and links in the archive, or what lies there already, are
//! made: every step of a path is opened by itself and links are followed by hand ([`beneath`]). Everything that an
//! archive says is bounded before it is kept. Small and without threads, since the first process of a container carries
//! it; who reads and writes, and as which user, is the caller's business.

mod attributes;
mod beneath;
mod entry;
mod header;
mod pack;
mod read;
mod unpack;
mod write;

pub use beneath::Root;
pub use entry::{Entry, Kind};
pub use pack::{Source, pack};
pub use read::{Error, Reader};
pub use unpack::{Rights, unpack};
pub use write::Writer;
