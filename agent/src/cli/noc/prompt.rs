//! Passwords from a person: typed without being seen, from a program's standard input, or made here.

use crate::cli::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Stdin, Write};
use vigil_noc::access::password::{self, MAX_CHARS};
use vigil_noc::access::secret;

/// Where a password comes from.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// Read the password from standard input: one line
    #[arg(long, conflicts_with = "generate")]
    password_stdin: bool,
    /// Make a password, print it once, and have another one chosen at the first log-in
    #[arg(long)]
    generate: bool,
}

/// A password, as it is kept.
pub struct Chosen {
    /// Its hash.
    pub hash: String,
    /// What was made, to be shown once.
    pub made: Option<String>,
}

impl Source {
    /// Asks for it.
    pub fn choose(&self, name: &str) -> Result<Chosen, Failure> {
        let (typed, made) = if self.generate {
            let made = secret::password().map_err(|why| Failure::failed(why, "Try again."))?;
            (made.clone(), Some(made))
        } else if self.password_stdin {
            (line(io::stdin().lock())?, None)
        } else {
            (twice(name)?, None)
        };
        let hash = password::hash(&typed).map_err(|why| Failure::invalid(why, "Choose another password."))?;
        Ok(Chosen { hash, made })
    }
}

fn twice(name: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::invalid(
            "there is no terminal to ask for a password",
            "Give it with --password-stdin, or let one be made with --generate.",
        ));
    }
    let _unseen = Unseen::on(stdin)?;
    let typed = asked(&format!("Password of {name}: "))?;
    if typed != asked("The same again: ")? {
        return Err(Failure::invalid("the password was typed in two ways", "Try again."));
    }
    Ok(typed)
}

fn asked(question: &str) -> Result<String, Failure> {
    let mut screen = io::stderr();
    let said = write!(screen, "{question}").and_then(|()| screen.flush());
    let typed = line(io::stdin().lock());
    // The end of the line was not shown either; a screen that is gone is no reason to stop.
    let _told = said.and_then(|()| writeln!(screen));
    typed
}

/// One line, never more than a password could have.
fn line(from: impl BufRead) -> Result<String, Failure> {
    let most = u64::try_from(4 * MAX_CHARS + 2).unwrap_or(u64::MAX);
    let mut line = String::new();
    from.take(most).read_line(&mut line).map_err(|why| {
        Failure::failed(format!("the password cannot be read: {why}"), "Give it as one line of text.")
    })?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until it is dropped.
struct Unseen {
    terminal: Stdin,
    before: Termios,
}

impl Unseen {
    fn on(terminal: Stdin) -> Result<Self, Failure> {
        let failed =
            |why| Failure::failed(format!("the terminal cannot be used: {why}"), "Use --password-stdin.");
        let before = tcgetattr(&terminal).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _restored = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_its_end_and_no_more_than_a_password() {
        assert_eq!(line(&b"one two\r\nthree"[..]).unwrap(), "one two");
        assert_eq!(line(&vec![b'x'; 10_000][..]).unwrap().len(), 514);
    }
}
