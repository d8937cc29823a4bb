//! The journal of an agent: from its store if no agent has it open, else from the running agent.

use super::{Failure, ask::Whom};
use crate::setup::masters;
use crate::store::{Journal, Masters, NoJournal, StoreError};
use vigil_config::Environment;

/// The journal up to now. The store stays as it is.
pub fn journal(whom: &Whom) -> Result<Journal, Failure> {
    let Some(config) = whom.config() else { return whom.journal() };
    let config = vigil_config::load_agent(config)?;
    let store = config.data_dir().join("db");
    // Only a stopped agent's store needs its credential: whoever asks a running agent may have no right to it.
    let (masters, refused) = match masters(&config, &Environment::of_process()) {
        Ok(masters) => (masters, None),
        Err(why) => (Masters::default(), Some(why)),
    };
    match Journal::of_closed_with(&store, &masters) {
        Ok(journal) => Ok(journal),
        Err(NoJournal::InUse(_)) => whom.journal(),
        Err(NoJournal::Store(StoreError::Keys(why))) => {
            let what = refused.map_or_else(|| why.to_string(), |refused| refused.to_string());
            Err(Failure::failed(what, super::mend_keys(&why)))
        }
        Err(why) => Err(no_journal(&why)),
    }
}

fn no_journal(why: &NoJournal) -> Failure {
    let mend = match why {
        NoJournal::NoStore(_) => {
            "There is no journal yet: `vigil run` begins one. Is it the right --config? --url asks a running agent."
        }
        NoJournal::Gone { .. } | NoJournal::Vanished(_) => {
            "Keep what lies beside it, as evidence. If it was moved away, put it back before the agent is started: started \
             without it, the agent begins a new one and says what is missing. What the operations centre has is there still."
        }
        NoJournal::InUse(_) => "Wait until that process has ended, or ask the agent by --url.",
        NoJournal::Copy { .. } => {
            "The store is read from a copy, so that it stays as it is: this user must be allowed to read it, and TMPDIR \
             be a folder with as much room. A running agent needs no copy."
        }
        NoJournal::Damaged(_) | NoJournal::NoSite(_) => {
            "Start the agent: it mends its store, or sets it aside and says so."
        }
        NoJournal::Locked(_) => {
            "Its keys belong beside it, in the folder db.keys: put that back, before the agent is started without it."
        }
        NoJournal::Store(_) => "Start the agent and ask it: it says what is wrong with its store.",
    };
    Failure::failed(why, mend)
}
