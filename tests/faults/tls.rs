//! Connections that are to be trusted: certificates by a CA of one's own, and what comes of wrong ones.

use std::{fs, path::PathBuf};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    fake_broker::FakeBroker,
    free_port,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::support::{DIGITS, Picket, pixels};

/// A CA and what it signed, as PEM files in one folder.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Writes `<who>.pem` and `<who>.key`.
    fn sign(&self, who: &str, name: &str, last_year: i32) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, who);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        fs::write(self.path(who, "pem"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(self.path(who, "key"), key.serialize_pem()).unwrap();
    }

    fn path(&self, who: &str, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{who}.{kind}"))
    }

    fn file(&self, who: &str, kind: &str) -> String {
        self.path(who, kind).to_str().unwrap().to_owned()
    }

    /// A broker with the certificate of `who`, on this port beside its plain one; clients need one too where `mutual`.
    fn broker(&self, secure: u16, who: &str, mutual: bool) -> Mosquitto {
        Mosquitto::start_with(
            free_port(),
            &format!(
                "listener {secure} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate {mutual}\n",
                self.file("ca", "pem"),
                self.file(who, "pem"),
                self.file(who, "key"),
            ),
        )
    }

    /// What a daemon is told to trust this CA.
    fn trusted(&self) -> String {
        format!("ca_file = \"{}\"", self.file("ca", "pem"))
    }

    fn shown(&self, who: &str) -> String {
        format!(
            "{}\ncert_file = \"{}\"\nkey_file = \"{}\"",
            self.trusted(),
            self.file(who, "pem"),
            self.file(who, "key")
        )
    }
}

fn picket(port: u16, mqtt: &str) -> Picket {
    Picket::start_at(&format!("mqtts://127.0.0.1:{port}"), mqtt, 2_000)
}

#[tokio::test]
async fn with_certificates_on_both_sides_jobs_are_answered() {
    let authority = Authority::new("Plant CA");
    authority.sign("broker", "127.0.0.1", 2090);
    authority.sign("press-4", "press-4", 2090);
    let secure = free_port();
    let broker = authority.broker(secure, "broker", true);
    let _picket = picket(secure, &authority.shown("press-4"));
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    let job = Job { payload: pixels().into(), content_type: Some("application/octet-stream"), ..Job::default() };
    assert_eq!(client.ask(DIGITS, &job).await["answer"]["label"], "0");
}

/// Each mistake has a code of its own, and nothing is sent over a connection that is not to be trusted.
#[tokio::test]
async fn a_wrong_certificate_is_called_by_what_is_wrong_with_it() {
    let authority = Authority::new("Plant CA");
    let others = ["Office CA", "Plant CA"].map(Authority::new);
    authority.sign("good", "127.0.0.1", 2090);
    authority.sign("old", "127.0.0.1", 2021);
    authority.sign("another", "broker.example", 2090);
    let cases = [
        ("old", false, authority.trusted(), "tls/expired"),
        ("another", false, authority.trusted(), "tls/name-mismatch"),
        ("good", false, others[0].trusted(), "tls/unknown-ca"),
        // Made anew: the same name, another key.
        ("good", false, others[1].trusted(), "tls/unknown-ca"),
        ("good", true, authority.trusted(), "tls/refused"),
    ];
    for (who, mutual, mqtt, code) in cases {
        let secure = free_port();
        let _broker = authority.broker(secure, who, mutual);
        let picket = picket(secure, &mqtt);
        picket.until_logged(code).await;
        assert_eq!(picket.logged("mqtt connected"), 0, "{code}:\n{}", picket.daemon.log());
    }
}

/// Row 5, the half with TLS: the broker takes the connection and never answers the hello.
#[tokio::test]
async fn a_tls_hello_that_is_never_answered_is_given_up() {
    let authority = Authority::new("Plant CA");
    let broker = FakeBroker::start().await;
    let picket = picket(broker.port, &authority.trusted());
    let silent = broker.accept().await;
    let _again = broker.accept().await;
    assert_eq!(picket.logged("mqtt/connect-timeout"), 1, "{}", picket.daemon.log());
    drop(silent);
}
