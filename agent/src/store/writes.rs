//! What one commit writes.

/// One atomic change: keys with the records that they get, or lose.
#[derive(Debug, Default)]
pub struct Writes(Vec<(Vec<u8>, Change)>);

/// What becomes of a key.
#[derive(Debug)]
pub enum Change {
    /// It gets a record, which is to be sealed.
    Put(Vec<u8>),
    /// It gets a record that is sealed for its place already.
    Sealed(Vec<u8>),
    /// It goes.
    Remove,
}

impl Writes {
    /// Sets a key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.push((key, Change::Put(value)));
    }
    /// Sets a key as it was in another database: under a newer key a record would live longer than it may.
    pub fn put_sealed(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.push((key, Change::Sealed(value)));
    }
    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.0.push((key, Change::Remove));
    }
    /// Every change, in order: a later one of a key takes the place of an earlier one.
    pub fn all(self) -> Vec<(Vec<u8>, Change)> {
        self.0
    }
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
