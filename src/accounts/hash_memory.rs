//! The memory that Argon2 works in, kept by a thread from one check to the next.
//!
//! The rule: it has its own mapping, so that the process returns all of it when it is dropped. glibc keeps freed memory
//! below 32 MiB for later, in an arena of each thread: a rush of wrong passwords left 200 MB in use.

use argon2::{Argon2, Block};

/// Blocks for one check at a time.
#[derive(Debug, Default)]
pub struct HashMemory(Vec<Block>);

impl HashMemory {
    /// Whether it holds no memory.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hashes a password, as [`Argon2::hash_password_into`] does. `None`: there is not enough memory, or Argon2 does
    /// not accept the length of the salt or the output.
    pub(super) fn hash(
        &mut self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Option<()> {
        let blocks = argon2.params().block_count();
        if self.0.len() < blocks {
            self.0 = Vec::new();
            self.0.try_reserve_exact(blocks.max(MIN_BLOCKS)).ok()?;
            self.0.resize(blocks, Block::new());
        }
        argon2.hash_password_into_with_memory(password, salt, out, &mut self.0[..blocks]).ok()?;
        if blocks > MAX_RETAINED_BLOCKS {
            self.0 = Vec::new();
        }
        Some(())
    }
}

/// Blocks of 1 KiB, of which only those in use take memory: above 32 MiB, the most that glibc's threshold for a mapping
/// grows to (mallopt(3), M_MMAP_THRESHOLD).
const MIN_BLOCKS: usize = 33 * 1024;
/// Largest number of blocks kept: those of an unusually expensive hash are not kept.
const MAX_RETAINED_BLOCKS: usize = 33 * 1024;
