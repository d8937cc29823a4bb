//! What lies beyond the box: the broker outside, and the operations centre or the Alertmanager. Only who asks (`--online`) is told; a start must not
//! wait for a network.

use super::machine::Finding;
use crate::setup::UplinkSetup;
use std::time::Duration;
use tokio::net::TcpStream;
use vigil_cloud_sync::{Heard, Uplink, UplinkConfig, UplinkError, alertmanager};
use vigil_config::{AgentConfig, Mode, Url};

/// A line that takes longer to a name or to a connection serves nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that the configuration wants to reach.
pub async fn findings(agent: &AgentConfig, uplink: Option<UplinkSetup>) -> Vec<Finding> {
    let mut all = Vec::new();
    if let Mode::External(broker) = agent.mqtt() {
        all.push(match reached(broker.url().host(), broker.url().port()).await {
            Ok(()) => Finding::well(format_args!("the broker {} can be reached", broker.url())),
            Err(why) => Finding::amiss(format_args!("the broker {}: {why}", broker.url())),
        });
    }
    if let (Some(config), Some(uplink)) = (agent.uplink(), uplink) {
        all.push(receiver(config.url(), uplink).await);
    }
    all
}

async fn receiver(url: &Url, uplink: UplinkSetup) -> Finding {
    let (who, heard) = match uplink {
        UplinkSetup::Centre(config) => ("operations centre", ask_centre(config).await),
        UplinkSetup::Alertmanager(config) => ("Alertmanager", alertmanager::knock(&config).await),
    };
    match heard {
        Err(why) => Finding::amiss(format_args!("the {who} {url}: {why}; mend [uplink]")),
        Ok(Heard::Welcome) => {
            Finding::well(format_args!("the {who} {url} knows this gateway and takes its token"))
        }
        Ok(Heard::Stranger(why)) => Finding::amiss(format_args!(
            "the {who} {url} does not take the token ({why}); compare it with the one that it has for this gateway"
        )),
        Ok(Heard::Odd(why)) => Finding::amiss(format_args!(
            "{url} answers, and not as an {who} ({why}); compare [uplink] url and format"
        )),
        // What goes wrong first is what is to be mended.
        Ok(Heard::Nothing(why)) => match reached(url.host(), url.port()).await {
            Err(first) => Finding::amiss(format_args!("the {who} {url}: {first}")),
            Ok(()) => Finding::amiss(format_args!(
                "the {who} {url} can be reached, and there is no exchange with it ({why}); look at ca_file, at the \
                 certificates of both, and at the clock"
            )),
        },
    }
}

async fn ask_centre(config: UplinkConfig) -> Result<Heard, UplinkError> {
    Ok(Uplink::new(config)?.knock().await)
}

/// Whether there is a name and somebody who listens.
async fn reached(host: &str, port: u16) -> Result<(), String> {
    let found = match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await {
        Ok(found) => found
            .map_err(|why| format!("there is no address of {host} ({why}); look at the name, and at DNS"))?,
        Err(_) => return Err(format!("nobody says the address of {host}; look at DNS")),
    };
    let addresses: Vec<_> = found.collect();
    match tokio::time::timeout(PATIENCE, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => Err(format!(
            "nobody can be reached at port {port} of {host} ({why}); look at the network and its firewall"
        )),
        Err(_) => Err(format!("port {port} of {host} does not answer; look at the network and its firewall")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn name_and_port_are_told_apart() {
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = door.local_addr().unwrap().port();
        reached("127.0.0.1", port).await.unwrap();
        drop(door);
        let closed = reached("127.0.0.1", port).await.unwrap_err();
        assert!(closed.contains("nobody can be reached at port"), "{closed}");
        let nameless = reached("noc.invalid", 443).await.unwrap_err();
        assert!(nameless.contains("noc.invalid") && nameless.contains("DNS"), "{nameless}");
    }
}
