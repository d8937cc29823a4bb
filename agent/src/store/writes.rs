//! What one commit writes.

/// One atomic change: keys with the records that they get, or lose.
#[derive(Debug, Default)]
pub struct Writes(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Writes {
    /// Sets a key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.push((key, Some(value)));
    }
    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.0.push((key, None));
    }
    /// Every change, in order: a later one of a key takes the place of an earlier one.
    pub fn all(self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.0
    }
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
