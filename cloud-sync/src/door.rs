//! Whether anybody is there: a bare connection that sends nothing, and asks only for the moment when a receiver that
//! could not be reached can be reached again.
//!
//! It shortens the wait of a CRITICAL event and nothing else: with full jitter up to 30 s, half of all gateways would
//! let a person lie for a quarter of a minute longer although the line is back. One that answers and refuses is not at
//! the door but in the house: its word on when to come again holds.

use reqwest::Url;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long it is quiet between two knocks: 60 bytes every three seconds, while somebody may be in danger.
const QUIET: Duration = Duration::from_secs(3);
/// A third of it more or less, so that a thousand gateways do not come in the same second.
const JITTER: f64 = 1.0 / 3.0;
/// How long one knock may take: a round over 2G, and no longer than what it is to shorten.
const KNOCK: Duration = Duration::from_secs(3);

/// The receiver's address as a connection needs it.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    host: String,
    port: u16,
}

impl Door {
    /// The door of this address.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: url.port_or_known_default()? })
    }

    /// Completes when somebody is there again after nobody was. Whoever was there all the time is not waited for: it
    /// was heard, and what it said counts.
    pub(crate) async fn opens(&self) {
        // At once: the receiver that just could not be reached may be there before the next knock.
        let mut shut = !self.knock().await;
        loop {
            tokio::time::sleep(QUIET.mul_f64(1.0 + JITTER * (2.0 * rand::random::<f64>() - 1.0))).await;
            let opened = self.knock().await;
            if shut && opened {
                return;
            }
            shut = !opened;
        }
    }

    async fn knock(&self) -> bool {
        let connected = timeout(KNOCK, TcpStream::connect((self.host.as_str(), self.port))).await;
        connected.is_ok_and(|stream| stream.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn door(url: &str) -> Door {
        Door::of(&Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_of_address_has_a_door() {
        let table = [
            ("https://noc.example.org/v1", "noc.example.org", 443),
            ("https://[2001:db8::1]:8443/v1", "2001:db8::1", 8443),
            ("http://127.0.0.1:8080/v1", "127.0.0.1", 8080),
        ];
        for (url, host, port) in table {
            let door = door(url);
            assert_eq!((door.host.as_str(), door.port), (host, port), "{url}");
        }
    }

    #[tokio::test]
    async fn only_a_door_that_was_shut_opens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = door(&format!("http://{}/", listener.local_addr().unwrap()));
        let twice = 2 * (QUIET + QUIET.mul_f64(JITTER) + KNOCK);
        assert!(timeout(twice / 2, door.opens()).await.is_err(), "somebody was there all the time");
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let opened = tokio::spawn(async move { door.opens().await });
        tokio::time::sleep(QUIET + QUIET.mul_f64(JITTER)).await;
        assert!(!opened.is_finished());
        let _again = TcpListener::bind(addr).unwrap();
        timeout(twice * 10, opened).await.expect("it opens").unwrap();
    }
}
