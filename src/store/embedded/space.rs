//! Room on the disk, asked for before it is needed: a full disk then shows before a group counts,
//! not in the midst of it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Files grow by so much at a time.
const STEP_BYTES: u64 = 1024 * 1024;

/// Makes sure that a file can grow to `end`; `reserved` is how far that has been asked for. A file
/// system that cannot promise is believed.
pub(super) fn reserve(file: &File, reserved: &mut u64, end: u64) -> io::Result<()> {
    if end <= *reserved {
        return Ok(());
    }
    let wanted = end.next_multiple_of(STEP_BYTES);
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, *reserved, wanted - *reserved) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    *reserved = wanted;
    Ok(())
}

/// Bytes free for this process on the disk of a directory.
pub(super) fn free(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
