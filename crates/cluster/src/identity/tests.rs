//! Keys, certificates and tokens: what is made is believed, and what was not made so is not.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::config::Name;

const HOUR: Duration = Duration::from_secs(3600);

fn ca() -> (tempfile::TempDir, Ca) {
    let directory = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_make(directory.path()).unwrap();
    (directory, ca)
}

#[test]
fn a_key_stays_the_same_and_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.key");
    let key = Key::load_or_make(&path).unwrap();
    assert_eq!(Key::load_or_make(&path).unwrap().fingerprint(), key.fingerprint());
    let mode = |name: &str| directory.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("node.key"), mode("key.pub")], [0o600, 0o644]);
    let public = std::fs::read_to_string(directory.path().join("key.pub")).unwrap();
    assert_eq!(Fingerprint::of_public_key(&public).unwrap(), key.fingerprint());
    let shown = format!("{key:?}");
    assert!(
        !shown.contains("PRIVATE") && shown.contains(key.fingerprint().as_str()),
        "{shown}"
    );
}

#[test]
fn a_damaged_key_is_told_and_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.key");
    std::fs::write(&path, "nonsense").unwrap();
    assert!(Key::load_or_make(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense");
}

#[test]
fn the_ca_is_made_once() {
    let (directory, ca) = ca();
    assert_eq!(
        Ca::load_or_make(directory.path()).unwrap().fingerprint(),
        ca.fingerprint()
    );
    assert_eq!(Fingerprint::of_certificate(ca.pem()).unwrap(), ca.fingerprint());
    let mode = directory.path().join("ca.key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_set_up_that_broke_off_goes_on_with_its_key() {
    let (directory, ca) = ca();
    let before = Key::load(&directory.path().join("ca.key")).unwrap().fingerprint();
    drop(ca);
    std::fs::remove_file(directory.path().join("ca.crt")).unwrap();
    Ca::load_or_make(directory.path()).unwrap();
    assert_eq!(
        Key::load(&directory.path().join("ca.key")).unwrap().fingerprint(),
        before
    );
}

#[test]
fn a_certificate_says_what_its_subject_is_and_no_more() {
    let (_directory, ca) = ca();
    let key = Key::generate().unwrap();
    let request = Request::from_pem(&key.request().unwrap()).unwrap();
    assert_eq!(request.fingerprint(), key.fingerprint());
    let id = Uuid::now_v7();
    let signed = |subject: &Subject| Certificate::from_pem(&ca.sign(&request, subject, HOUR).unwrap()).unwrap();
    let node = signed(&Subject::Node { id });
    assert_eq!(node.common_name, format!("node-{id}-{}", key.fingerprint().short()));
    assert_eq!(node.key, key.fingerprint());
    assert!(node.is_good(Timestamp::now()));
    let name = Name::new("alice").unwrap();
    let admin = signed(&Subject::Administrator { name });
    assert!(admin.common_name.starts_with("admin-alice-"), "{admin:?}");
    assert_eq!(signed(&Subject::Config { addresses: Vec::new() }).common_name, "");
    assert_eq!(
        signed(&Subject::ConfigPeer { addresses: Vec::new() }).common_name,
        PEER_NAME
    );
}

#[test]
fn what_a_request_asks_to_be_called_does_not_matter() {
    let (_directory, ca) = ca();
    let key = Key::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![CORE_NAME.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "root");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&key.pair).unwrap().pem().unwrap();
    let request = Request::from_pem(&request).unwrap();
    let pem = ca.sign(&request, &Subject::Node { id: Uuid::nil() }, HOUR).unwrap();
    assert!(Certificate::from_pem(&pem).unwrap().common_name.starts_with("node-"));
    let der = der(&pem, "CERTIFICATE").unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(!parsed.is_ca());
    assert!(parsed.subject_alternative_name().unwrap().is_none());
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let key = Key::generate().unwrap();
    let mut der = der(&key.request().unwrap(), "CERTIFICATE REQUEST").unwrap();
    let last = der.len() - 1;
    der[last] ^= 1;
    assert!(Request::from_pem(&pem_of(&der)).is_err());
    for other in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let pair = rcgen::KeyPair::generate_for(other).unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
        assert!(Request::from_pem(&request.pem().unwrap()).is_err());
    }
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine;
    let coded = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{coded}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
    let (_directory, ca) = ca();
    let key = Key::generate().unwrap();
    let request = Request::from_pem(&key.request().unwrap()).unwrap();
    let before = Timestamp::now();
    let pem = ca.sign(&request, &Subject::Root, 3 * HOUR).unwrap();
    let certificate = Certificate::from_pem(&pem).unwrap();
    let due = certificate.renew_at().duration_since(before).as_secs();
    assert!((7190..=7210).contains(&due), "{due}");
    assert!(!certificate.is_good(certificate.not_after));
    assert!(certificate.not_before < before);
}

#[test]
fn a_credential_is_read_as_it_was_written_and_shows_no_key() {
    let (directory, ca) = ca();
    let key = Key::generate().unwrap();
    let name = Name::new("admin").unwrap();
    let request = Request::from_pem(&key.request().unwrap()).unwrap();
    let subject = Subject::Administrator { name: name.clone() };
    let credential = Credential {
        name,
        ca: ca.pem().to_owned(),
        certificate: ca.sign(&request, &subject, HOUR).unwrap(),
        key: key.pem(),
        endpoints: vec!["https://127.0.0.1:2379".to_owned()],
    };
    let path = directory.path().join("credential.yml");
    credential.save(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Credential::load(&path).unwrap(), credential);
    assert!(!format!("{credential:?}").contains("PRIVATE"));
    assert!(credential.save_new(&path).is_err());
    let other = Credential {
        key: Key::generate().unwrap().pem(),
        ..credential
    };
    other.save(&path).unwrap();
    let error = format!("{:?}", Credential::load(&path).unwrap_err());
    assert!(
        error.contains("belong together") && !error.contains("PRIVATE"),
        "{error}"
    );
}

#[test]
fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
    let token = JoinToken {
        core: "[::1]:9443".parse().unwrap(),
        ca: Fingerprint::of(b"ca"),
        secret: Secret::generate().unwrap(),
    };
    let text = token.text().unwrap();
    assert_eq!(text.parse::<JoinToken>().unwrap(), token);
    assert_eq!(format!("{text}\n").parse::<JoinToken>().unwrap(), token);
    assert!(!format!("{token:?}").contains(token.secret.reveal()));
    let mut wrong = vec![
        String::new(),
        "fence1.".to_owned(),
        "fence2.e30".to_owned(),
        "fence1.e30".to_owned(),
    ];
    wrong.push(text[..text.len() - 8].to_owned());
    wrong.push(format!("{text}AAAA"));
    wrong.push(format!("fence1.{}", "A".repeat(4096)));
    for text in wrong {
        let error = text.parse::<JoinToken>().unwrap_err().to_string();
        assert!(!error.contains(token.secret.reveal()), "{error}");
    }
}

#[test]
fn an_address_is_a_host_and_a_port() {
    for (text, whole) in [
        ("core.example.com", "core.example.com:8443"),
        ("10.0.0.1", "10.0.0.1:8443"),
        ("10.0.0.1:9", "10.0.0.1:9"),
        ("::1", "[::1]:8443"),
        ("[::1]:9", "[::1]:9"),
        ("[::1]", "[::1]:8443"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), whole);
    }
    for text in [
        "",
        ":",
        "a:",
        "a:0",
        "a:99999",
        "a b",
        "https://a",
        "[::1",
        "[::1]9",
        "a/b",
        "a:b:c",
        "a@b",
    ] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}

#[test]
fn fingerprints_are_compared_as_people_write_them() {
    let one = Fingerprint::of(b"x");
    let colons: Vec<String> = one
        .as_str()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect();
    assert_eq!(colons.join(":").parse::<Fingerprint>().unwrap(), one);
    for wrong in ["", "ab", &"g".repeat(64), &"a".repeat(65), &"a".repeat(4096)] {
        assert!(wrong.parse::<Fingerprint>().is_err());
    }
}
