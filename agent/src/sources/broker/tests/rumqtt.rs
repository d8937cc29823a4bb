//! A client library that others wrote, in both versions, and TLS.

use super::*;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet};

async fn next_packet(events: &mut EventLoop) -> Packet {
    loop {
        match timeout(SOON, events.poll()).await.expect("no packet came").unwrap() {
            Event::Incoming(packet) => return packet,
            Event::Outgoing(_) => {}
        }
    }
}

fn options(night: &Night, user: &str) -> MqttOptions {
    let mut options = MqttOptions::new(format!("c-{user}"), "127.0.0.1", night.address.port());
    options.set_credentials(user, user).set_keep_alive(Duration::from_secs(5));
    options
}

#[tokio::test]
async fn rumqttc_publishes_and_subscribes_with_3_1_1() {
    let mut night = night().await;
    night.store_everything();
    let (mira, mut hears) = AsyncClient::new(options(&night, "mira"), 10);
    mira.subscribe("vigil/v1/plant-7/#", rumqttc::QoS::AtLeastOnce).await.unwrap();
    assert!(matches!(next_packet(&mut hears).await, Packet::ConnAck(_)));
    assert!(matches!(next_packet(&mut hears).await, Packet::SubAck(_)));
    let (phone, mut says) = AsyncClient::new(options(&night, "phone-1"), 10);
    phone.publish(HEARTBEAT, rumqttc::QoS::ExactlyOnce, false, "m").await.unwrap();
    assert!(matches!(next_packet(&mut says).await, Packet::ConnAck(_)));
    assert!(matches!(next_packet(&mut says).await, Packet::PubRec(_)));
    assert!(matches!(next_packet(&mut says).await, Packet::PubComp(_)));
    let Packet::Publish(heard) = next_packet(&mut hears).await else { panic!() };
    assert_eq!((heard.topic.as_str(), heard.payload.as_ref()), (HEARTBEAT, b"m".as_slice()));
}

#[tokio::test]
async fn rumqttc_publishes_and_subscribes_with_5() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
    async fn next(events: &mut EventLoop) -> Packet {
        loop {
            if let Event::Incoming(packet) = timeout(SOON, events.poll()).await.unwrap().unwrap() {
                return packet;
            }
        }
    }
    let mut night = night().await;
    night.store_everything();
    let options = |user: &str| {
        let mut options = MqttOptions::new(format!("c-{user}"), "127.0.0.1", night.address.port());
        options.set_credentials(user, user).set_keep_alive(Duration::from_secs(5));
        options
    };
    let (mira, mut hears) = AsyncClient::new(options("mira"), 10);
    mira.subscribe("vigil/v1/plant-7/#", QoS::ExactlyOnce).await.unwrap();
    assert!(matches!(next(&mut hears).await, Packet::ConnAck(_)));
    assert!(matches!(next(&mut hears).await, Packet::SubAck(_)));
    let (phone, mut says) = AsyncClient::new(options("phone-1"), 10);
    phone.publish(HEARTBEAT, QoS::AtLeastOnce, false, "m").await.unwrap();
    assert!(matches!(next(&mut says).await, Packet::ConnAck(_)));
    assert!(matches!(next(&mut says).await, Packet::PubAck(_)));
    let Packet::Publish(heard) = next(&mut hears).await else { panic!() };
    assert_eq!(heard.payload.as_ref(), b"m");
}

#[tokio::test]
async fn two_thousand_messages_of_one_client_are_all_acknowledged() {
    let mut night = night().await;
    night.store_everything();
    let mut options = options(&night, "phone-1");
    options.set_inflight(100);
    let (phone, mut events) = AsyncClient::new(options, 10);
    tokio::spawn(async move {
        for _ in 0..2_000 {
            phone.publish(HEARTBEAT, rumqttc::QoS::AtLeastOnce, false, "m").await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < 2_000 {
        match timeout(SOON, events.poll()).await.unwrap().unwrap() {
            Event::Outgoing(Outgoing::Publish(_)) => sent += 1,
            Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
    assert_eq!(sent, 2_000);
    assert_eq!(night.handle.counts().acknowledged, 2_000);
}

/// A CA, a certificate of it for 127.0.0.1, and its key, all PEM.
struct Papers {
    ca: String,
    cert: String,
    key: String,
}

fn papers() -> Papers {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = leaf.signed_by(&key, &issuer).unwrap().pem();
    Papers { ca: ca_pem, cert, key: key.serialize_pem() }
}

fn tls_config(papers: &Papers, own: Option<&Papers>) -> rumqttc::TlsConfiguration {
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&papers.ca)).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate(&own.cert)], key).unwrap()
        }
    };
    rumqttc::TlsConfiguration::Rustls(Arc::new(config))
}

#[tokio::test]
async fn tls_asks_for_a_certificate_of_the_client_ca_and_for_the_password() {
    let files = tempfile::tempdir().unwrap();
    let (server, client) = (papers(), papers());
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tls = TlsFiles {
        cert: write("cert.pem", &server.cert),
        key: write("key.pem", &server.key),
        client_ca: Some(write("ca.pem", &client.ca)),
    };
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = BrokerConfig {
        listen: any,
        tls: Some((any, tls)),
        password_file: Some(write("mqtt.passwd", &password_line("phone-1", "phone-1").unwrap())),
        allow_anonymous: false,
        limits: limits(),
    };
    let (_sender, site) = watch::channel(Arc::new(site()));
    let intake = Intake::new(site.clone(), mpsc::channel(1).0, Clock::wall());
    let broker = Broker::bind(config, intake, site).await.unwrap();
    let port = broker.local_tls_addr().unwrap().port();
    tokio::spawn(broker.run(std::future::pending()));
    for (own, password, welcome) in
        [(Some(&client), "phone-1", true), (Some(&client), "wrong", false), (None, "phone-1", false)]
    {
        let mut options = MqttOptions::new("c", "127.0.0.1", port);
        options.set_credentials("phone-1", password);
        options.set_transport(rumqttc::Transport::tls_with_config(tls_config(&server, own)));
        let (_client, mut events) = AsyncClient::new(options, 1);
        let first = timeout(SOON, events.poll()).await.unwrap();
        assert_eq!(matches!(first, Ok(Event::Incoming(Packet::ConnAck(_)))), welcome, "{first:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named() {
    let path = PathBuf::from("/nowhere/cert.pem");
    let files = TlsFiles { cert: path.clone(), key: path, client_ca: None };
    let error = tls::acceptor(&files, &crate::clock::Clock::wall()).err().unwrap();
    assert!(error.to_string().starts_with("cannot read /nowhere/cert.pem as PEM: "));
}
