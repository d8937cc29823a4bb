//! The yardstick: the least that any durable store has to do, on the same file system.

use super::Failure;
use super::proc::Disk;
use std::fs::OpenOptions;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

/// What the yardstick did.
#[derive(Debug, Clone, Copy)]
pub struct Raw {
    /// Payloads a second.
    pub per_second: f64,
    /// Bytes that the device wrote for each payload.
    pub written: f64,
}

/// Appends `events` payloads to a new file in `folder`, `batch` of them to a write, each write followed by
/// `fdatasync`. The file grows, so the file system writes its own books as well.
pub fn append(folder: &Path, payload: &[u8], events: usize, batch: usize) -> Result<Raw, Failure> {
    timed(folder, payload, events, batch, false)
}

/// The same over blocks that are on disk already: nothing but the data has to be written.
pub fn overwrite(folder: &Path, payload: &[u8], events: usize, batch: usize) -> Result<Raw, Failure> {
    timed(folder, payload, events, batch, true)
}

fn timed(folder: &Path, payload: &[u8], events: usize, batch: usize, over: bool) -> Result<Raw, Failure> {
    let path = folder.join("raw");
    let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
    let (block, writes) = (payload.repeat(batch.max(1)), events.div_ceil(batch.max(1)));
    if over {
        file.write_all(&vec![0; block.len() * writes])?;
        file.sync_all()?;
        file.rewind()?;
    }
    let disk = Disk::under(folder)?;
    let (before, began) = (disk.written()?, Instant::now());
    for _ in 0..writes {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    let (secs, written) = (began.elapsed().as_secs_f64(), disk.written()? - before);
    std::fs::remove_file(&path)?;
    let events = count(writes * batch.max(1));
    Ok(Raw { per_second: events / secs, written: written / events })
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
pub const fn count(n: usize) -> f64 {
    n as f64
}
