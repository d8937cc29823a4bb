//! How many files the receiver may have open: each connection is one.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Lets this process have so many files open, as far as it may. How many it may have open then; `None` if nobody can tell.
pub fn let_open(wanted: usize) -> Option<usize> {
    let wanted = rlim_t::try_from(wanted).unwrap_or(rlim_t::MAX);
    let limit = Resource::RLIMIT_NOFILE;
    let raised = getrlimit(limit).and_then(|(now, most)| {
        let allowed = between(now, most, wanted);
        if allowed > now { setrlimit(limit, allowed, most) } else { Ok(()) }?;
        Ok(allowed)
    });
    match raised {
        Ok(allowed) => Some(usize::try_from(allowed).unwrap_or(usize::MAX)),
        Err(error) => {
            tracing::warn!(%error, wanted, "how many files this process may open cannot be changed");
            None
        }
    }
}

/// As many as are wanted, as far as it may be; never fewer than now.
fn between(now: rlim_t, most: rlim_t, wanted: rlim_t) -> rlim_t {
    wanted.min(most).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_goes_up_as_far_as_it_may_and_never_down() {
        let table =
            [(1_024, 4_096, 2_304, 2_304), (1_024, 2_000, 2_304, 2_000), (4_096, 4_096, 2_304, 4_096)];
        for (now, most, wanted, allowed) in table {
            assert_eq!(between(now, most, wanted), allowed, "{now} {most} {wanted}");
        }
    }
}
