//! Extended attributes of open files.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// The most bytes of names, and of one value, that the kernel gives.
const MOST: usize = 64 * 1024;

/// All that can be read. A file system without any has none.
pub fn read(file: &OwnedFd) -> Vec<(Vec<u8>, Vec<u8>)> {
    // SAFETY: without room the kernel only says how much it would take.
    if unsafe { libc::flistxattr(file.as_raw_fd(), std::ptr::null_mut(), 0) } <= 0 {
        return Vec::new();
    }
    let mut names = vec![0u8; MOST];
    // SAFETY: the kernel writes at most the length that it is told of the vector's.
    let length = unsafe { libc::flistxattr(file.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    let Ok(length) = usize::try_from(length) else {
        return Vec::new();
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .filter_map(|name| Some((name.to_vec(), value(file, name)?)))
        .collect()
}

fn value(file: &OwnedFd, name: &[u8]) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    let mut value = vec![0u8; MOST];
    // SAFETY: the name ends in a zero byte, and the kernel writes at most the length that it is told of the vector's.
    let length = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    value.shrink_to_fit();
    Some(value)
}

/// Set one.
pub fn set(file: &OwnedFd, name: &[u8], value: &[u8]) -> nix::Result<()> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the name ends in a zero byte, and the kernel reads the value's own length.
    let result = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}
