//! The journal of an agent: from its store if no agent has it open, else from the running agent.

use super::{Failure, ask::Whom};
use crate::store::{Journal, NoJournal};

/// The journal up to now. The store stays as it is.
pub fn journal(whom: &Whom) -> Result<Journal, Failure> {
    let Some(config) = whom.config() else { return whom.journal() };
    let store = vigil_config::load_agent(config)?.data_dir().join("db");
    match Journal::of_closed(&store) {
        Ok(journal) => Ok(journal),
        Err(NoJournal::InUse(_)) => whom.journal(),
        Err(why) => Err(no_journal(&why)),
    }
}

fn no_journal(why: &NoJournal) -> Failure {
    let mend = match why {
        NoJournal::NoStore(_) => {
            "There is no journal yet: `vigil run` begins one. Is it the right --config? --url asks a running agent."
        }
        NoJournal::InUse(_) => "Wait until that process has ended, or ask the agent by --url.",
        NoJournal::Copy { .. } => {
            "The store is read from a copy, so that it stays as it is: this user must be allowed to read it, and TMPDIR \
             be a folder with as much room. A running agent needs no copy."
        }
        NoJournal::Damaged(_) | NoJournal::NoSite(_) => {
            "Start the agent: it mends its store, or sets it aside and says so."
        }
        NoJournal::Store(_) => "Start the agent and ask it: it says what is wrong with its store.",
    };
    Failure::failed(why, mend)
}
