//! Why a ledger cannot be written or read.

use super::PostgresError;
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// The ledger cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database failed.
    #[error("the ledger failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Its file is there and is none, or is damaged.
    #[error("the ledger {} is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A look at it found pages that do not fit together.
    #[error("the ledger {} is damaged: {found}", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// The first of what SQLite found.
        found: String,
    },
    /// Its file cannot be opened.
    #[error("the ledger {} cannot be opened: {source}", path.display())]
    Closes {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The server failed, or cannot be reached.
    #[error("the ledger failed: {0}")]
    Postgres(#[from] PostgresError),
    /// The connection broke in the midst of a transaction; nothing of it was kept.
    #[error("the line to the database broke")]
    Lost,
    /// A stored value is not of the kind that was written.
    #[error("the ledger gives something else than was stored (column {0})")]
    Column(usize),
    /// A stored text is not what was written.
    #[error("the ledger holds an unreadable record: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("the ledger has schema {found}, this program knows up to {known}; install a newer one")]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The highest schema that is known.
        known: i64,
    },
    /// What was last to be stored is not, and nothing was since.
    #[error("nothing can be stored")]
    NothingStored,
    /// Its work was taken back, for a reason that is told elsewhere.
    #[error("nothing was stored")]
    TakenBack,
    /// The thread that keeps it cannot be started.
    #[error("the ledger's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The thread that keeps it is gone.
    #[error("the ledger is closed")]
    Closed,
}

impl LedgerError {
    /// Whether what was to be stored is at fault, and not the database: the same would fail again.
    pub(super) fn is_of_the_data(&self) -> bool {
        if let Self::Postgres(why) = self {
            return why.is_of_the_data();
        }
        let Self::Sqlite(why) = self else { return false };
        matches!(why.sqlite_error_code(), Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig))
    }

    /// Whether the database is at fault, so that nothing else can be stored either. Two that were in each other's way, of which one
    /// has to try again, are no fault.
    pub(super) fn is_of_the_database(&self) -> bool {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) if self.is_of_the_data() => false,
            Self::Postgres(why) => !why.is_of_the_moment(),
            Self::Sqlite(_)
            | Self::Damaged { .. }
            | Self::Unsound { .. }
            | Self::Closes { .. }
            | Self::Lost
            | Self::Thread(_)
            | Self::Closed => true,
            Self::Column(_)
            | Self::Unreadable(_)
            | Self::Newer { .. }
            | Self::NothingStored
            | Self::TakenBack => false,
        }
    }

    /// Names the file of what SQLite said, if it said that the file itself is at fault.
    pub(super) fn of_file(self, path: &Path) -> Self {
        if let Self::Sqlite(source) = self {
            let damaged = is_damage(&source);
            let path = path.to_owned();
            return if damaged { Self::Damaged { path, source } } else { Self::Sqlite(source) };
        }
        self
    }
}

fn is_damage(why: &rusqlite::Error) -> bool {
    matches!(why.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
