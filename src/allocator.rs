//! The size of the buffers that the C library keeps for the next use.
//!
//! A buffer that comes from the kernel and goes back to it costs a page fault for each 4 KiB, every time: more than to copy its
//! content. glibc does that with every buffer above 128 KiB until the first one has been freed. Then it keeps buffers of that size
//! (mallopt(3), `M_MMAP_THRESHOLD`), and gives the end of a heap back when twice that size is free there. So without this module
//! the first large message would decide about the speed of all that follow.

use std::hint::black_box;

/// Makes the C library keep the buffers in which messages are read and sent. It lasts as long as the process. Another C library may
/// ignore it.
pub(crate) fn keep_large_buffers() {
    drop(black_box(Vec::<u8>::with_capacity(LARGEST_KEPT)));
}

/// Twice the octets of the largest piece of a message on the wire, with its line ends.
const LARGEST_KEPT: usize = 1 << 20;
