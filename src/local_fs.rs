//! File systems whose changes the kernel of this machine reports. A leaf: imports no other module of the crate.

use std::os::fd::AsFd;

use rustix::fs::{self, FsWord};

/// Whether the directory or file is on a file system of this machine alone.
pub(crate) fn is_local(file: impl AsFd) -> bool {
    is_one_of(file, &LOCAL)
}

/// Whether the file system is one of these `statfs` types.
pub(crate) fn is_one_of(file: impl AsFd, kinds: &[u32]) -> bool {
    fs::fstatfs(file).is_ok_and(|stat| kinds.contains(&fs_magic(stat.f_type)))
}

/// The magic number, whose 32 bits some machines extend by their sign.
#[allow(clippy::unnecessary_cast, reason = "the width of this type differs between machines")]
fn fs_magic(magic: FsWord) -> u32 {
    magic as u64 as u32
}

/// File systems of this machine alone, unless another machine has the disk below them.
pub(crate) const LOCAL: [u32; 7] = [
    0xef53,      // ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0x0102_1994, // tmpfs
];
