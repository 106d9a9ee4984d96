//! Making an administrator: a key, a certificate, a file with both, and a record, by which the config store lets them in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::config::Name;
use cluster::identity::{Ca, Certificate, Credential, Key, Request, Subject};
use cluster::nodes::Paths;
use cluster::pairing::{Administrator, Administrators};
use cluster::store::Store;
use jiff::Timestamp;

use super::super::cloud;
use super::super::node::problem;
use crate::error::{Error, Result};

/// How long the first administrator's credential is good.
const FIRST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Who is to be made.
pub struct New<'a> {
    /// The name.
    pub name: &'a Name,
    /// How long the credential is good.
    pub lifetime: Duration,
    /// Where the config store answers.
    pub endpoints: Vec<String>,
    /// Who makes it.
    pub by: String,
}

/// Make an administrator whose credential is written to `file`, where there must be nothing yet.
pub async fn make(store: &Arc<dyn Store>, ca: &Ca, new: New<'_>, file: &Path) -> Result<Administrator> {
    let administrators = Administrators::new(Arc::clone(store));
    let name = new.name.clone();
    let present = administrators.list().await.map_err(problem::pairing)?;
    if present.iter().any(|one| one.name == name) {
        return Err(problem::pairing(cluster::pairing::Error::AdministratorTaken { name }));
    }
    let by = new.by.clone();
    let credential = sign(ca, new)?;
    // Before the record: who is told of is one who can be it.
    credential.save_new(file).map_err(|error| {
        Error::refused(format!("could not write the credential to {}", file.display()))
            .because(error)
            .hint("-o FILE")
    })?;
    match record(&administrators, &credential, by).await {
        Err(error) if take_back(&administrators, &credential).await => {
            // Of no use any more; what is wrong is told.
            let _ = std::fs::remove_file(file);
            Err(error)
        }
        // With a record the administrator is in, and needs the file.
        Err(error) => Err(error.hint(format!("kato admin revoke {} and then again", credential.name))),
        done => done,
    }
}

/// Take back what was begun; whether there is no record of this credential now.
async fn take_back(all: &Administrators, credential: &Credential) -> bool {
    let (Ok(present), Ok(certificate)) = (all.list().await, Certificate::from_pem(&credential.certificate)) else {
        return false;
    };
    let is_there = present.iter().any(|one| one.fingerprint == certificate.key);
    !is_there || all.revoke(&credential.name).await.is_ok()
}

/// The first administrator of a cluster, whose credential is this node's own. Done again it goes on with what is there.
pub async fn first(paths: &Paths, store: &Arc<dyn Store>, ca: &Ca, name: &Name, endpoints: Vec<String>) -> Result<()> {
    let (file, by) = (paths.credential_file(), cloud::by());
    let known = match Credential::load(&file) {
        // One of a cluster that this node was in before is of no use here.
        Ok(known) if known.ca == ca.pem() => known,
        _ => {
            let new = New {
                name,
                lifetime: FIRST,
                endpoints,
                by: by.clone(),
            };
            let credential = sign(ca, new)?;
            credential.save(&file).map_err(problem::identity)?;
            credential
        }
    };
    match record(&Administrators::new(Arc::clone(store)), &known, by).await {
        Err(error) if error.kind() == crate::error::Kind::Refused => Ok(()),
        recorded => recorded.map(drop),
    }
}

fn sign(ca: &Ca, new: New<'_>) -> Result<Credential> {
    let key = Key::generate().map_err(problem::identity)?;
    let request = Request::from_pem(&key.request().map_err(problem::identity)?).map_err(problem::identity)?;
    let subject = Subject::Administrator { name: new.name.clone() };
    let certificate = ca.sign(&request, &subject, new.lifetime).map_err(problem::identity)?;
    Ok(Credential {
        name: new.name.clone(),
        ca: ca.pem().to_owned(),
        certificate,
        key: key.pem(),
        endpoints: new.endpoints,
    })
}

async fn record(all: &Administrators, credential: &Credential, by: String) -> Result<Administrator> {
    let certificate = Certificate::from_pem(&credential.certificate).map_err(problem::identity)?;
    let administrator = Administrator {
        name: credential.name.clone(),
        fingerprint: certificate.key,
        created: Timestamp::now(),
        expires: certificate.not_after,
        by,
    };
    all.add(&administrator).await.map_err(problem::pairing)?;
    Ok(administrator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_name_or_a_file_that_is_taken_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_make(directory.path()).unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let all = Administrators::new(Arc::clone(&store));
        let (alice, bob) = (Name::new("alice").unwrap(), Name::new("bob").unwrap());
        let new = |name| New {
            name,
            lifetime: FIRST,
            endpoints: vec!["https://127.0.0.1:2379".to_owned()],
            by: String::new(),
        };
        let file = |name: &str| directory.path().join(name);
        let made = make(&store, &ca, new(&alice), &file("alice.yml")).await.unwrap();
        assert_eq!(Credential::load(&file("alice.yml")).unwrap().name, alice);
        let taken = make(&store, &ca, new(&alice), &file("other.yml")).await.unwrap_err();
        assert_eq!(taken.kind(), crate::error::Kind::Refused);
        assert!(!file("other.yml").exists());
        let taken = make(&store, &ca, new(&bob), &file("alice.yml")).await.unwrap_err();
        assert_eq!(taken.kind(), crate::error::Kind::Refused);
        assert_eq!(all.list().await.unwrap(), [made]);
    }
}
