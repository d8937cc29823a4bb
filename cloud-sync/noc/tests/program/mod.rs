//! How the tests come in on the operators' side: as a program with a token.

use vigil_core::id::OperatorId;
use vigil_core::time::Timestamp;
use vigil_noc::access::audit::Actor;
use vigil_noc::access::tokens::{self, NewToken};
use vigil_noc::{Noc, Role, token_sha256};

/// Good in every receiver that was told so.
pub const TOKEN: &str = "token-of-the-tests";

/// Lets the tests in, as an operator of all tenants.
pub async fn let_in(noc: &Noc) {
    let token = NewToken {
        name: OperatorId::new("tests").unwrap(),
        tenant: None,
        role: Role::Operator,
        digest: token_sha256(TOKEN),
    };
    // After a restart it is there already.
    let clerk = noc.clerk();
    let added = clerk.ask(move |ledger| {
        ledger.within(|tx| tokens::add(tx, &Actor::console(), Timestamp::from_millis(1), &token))
    });
    added.await.unwrap();
}
